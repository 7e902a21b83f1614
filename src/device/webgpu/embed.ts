import type { Ops } from "../ops.ts";
import { f32, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/** See `Ops.embed`. */
export function embed(
  runtime: WebgpuRuntime,
  { tokens, tokenTable, positionTable, firstPosition, out }: Parameters<Ops["embed"]>[0],
): void {
  const [V, C] = tokenTable.shape as [number, number];
  const sizes = { count: u32(out.size), C: u32(C), T: u32(tokens.shape[1]!), V: u32(V) };
  runtime.launch(
    { file: "embed", constants: { THREADS: threads } },
    {
      groups: Math.ceil(out.size / threads),
      reads: { tokens, tokenTable, positionTable },
      writes: { out },
      numbers: { ...sizes, firstPosition: u32(firstPosition), nan: f32(Number.NaN) },
    },
  );
}
