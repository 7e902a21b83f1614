import type { Ops } from "../ops.ts";
import { u32 } from "./kernel_arguments.ts";
import { packsOf } from "./packs.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/** See `Ops.add`. */
export function add(runtime: WebgpuRuntime, { x, y, out }: Parameters<Ops["add"]>[0]): void {
  const packs = packsOf([x.size], [x, y, out]);
  const count = x.size / packs.width;
  runtime.launch(
    { file: "add", uses: [packs.file], constants: { THREADS: threads } },
    {
      groups: Math.ceil(count / threads),
      reads: { x: packs.of(x), y: packs.of(y) },
      writes: { out: packs.of(out) },
      numbers: { packs: u32(count) },
    },
  );
}
