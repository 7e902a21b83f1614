import type { Ops } from "../ops.ts";
import { f32, u32 } from "./kernel_arguments.ts";
import { packsOf } from "./packs.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/** See `Ops.embed`. */
export function embed(
  runtime: WebgpuRuntime,
  { tokens, tokenTable, positionTable, firstPosition, out }: Parameters<Ops["embed"]>[0],
): void {
  const [V, C] = tokenTable.shape as [number, number];
  const packs = packsOf([C], [tokenTable, positionTable, out]);
  const count = out.size / packs.width;
  const sizes = { count: u32(count), packs: u32(C / packs.width), T: u32(tokens.shape[1]!), V: u32(V) };
  runtime.launch(
    { file: "embed", uses: [packs.file], constants: { THREADS: threads } },
    {
      groups: Math.ceil(count / threads),
      reads: { tokens, tokenTable: packs.of(tokenTable), positionTable: packs.of(positionTable) },
      writes: { out: packs.of(out) },
      numbers: { ...sizes, firstPosition: u32(firstPosition), nan: f32(Number.NaN) },
    },
  );
}
