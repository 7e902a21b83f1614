import type { Ops } from "../ops.ts";
import { bits, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/** See `Ops.keepMask`. */
export function keepMask(runtime: WebgpuRuntime, { key, keep, out }: Parameters<Ops["keepMask"]>[0]): void {
  const threshold = Math.ceil(keep * 2 ** 32);
  const keepsAll = threshold === 2 ** 32 ? 1 : 0;
  runtime.launch(
    { file: "keep_mask", constants: { THREADS: threads } },
    {
      groups: Math.ceil(out.size / threads),
      reads: { key: bits(key) },
      writes: { out },
      numbers: { count: u32(out.size), threshold: u32(threshold), keepsAll: u32(keepsAll) },
    },
  );
}
