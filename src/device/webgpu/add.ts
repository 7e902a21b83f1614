import type { Ops } from "../ops.ts";
import { u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/** See `Ops.add`. */
export function add(runtime: WebgpuRuntime, { x, y, out }: Parameters<Ops["add"]>[0]): void {
  runtime.launch(
    { file: "add", constants: { THREADS: threads } },
    { groups: Math.ceil(x.size / threads), reads: { x, y }, writes: { out }, numbers: { count: u32(x.size) } },
  );
}
