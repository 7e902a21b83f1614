import type { Ops } from "../ops.ts";
import { areAligned } from "./elements.ts";
import { i32, i64, pack, pointer } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
const elementsPerBlock = threads * 4;

/** See `Ops.keepMask`. */
export function keepMask(runtime: CudaRuntime, { key, keep, out }: Parameters<Ops["keepMask"]>[0]): void {
  const threshold = Math.ceil(keep * 2 ** 32);
  const keepAll = threshold === 2 ** 32 ? 1 : 0;
  const aligned = areAligned(4, out) ? 1 : 0;
  const fields = [pointer(key), pointer(out), i64(out.size), i32(threshold), i32(keepAll), i32(aligned)];
  runtime.launch(
    { file: "keep_mask" },
    { grid: [Math.ceil(out.size / elementsPerBlock)], threads, parameters: [pack(fields)] },
  );
}
