import type { Ops } from "../ops.ts";
import type { CpuRuntime } from "./runtime.ts";

const floatsPerTask = 1 << 15;

/** See `Ops.embed`. */
export function embed(
  runtime: CpuRuntime,
  { tokens, tokenTable, positionTable, firstPosition, out }: Parameters<Ops["embed"]>[0],
): void {
  const [V, C] = tokenTable.shape;
  const [B, T] = tokens.shape;
  const rowsPerTask = Math.max(1, Math.floor(floatsPerTask / C));
  const positions = positionTable && T > 0 ? positionTable.slice(0, firstPosition, T) : null;
  runtime.enqueue("embed", {
    tasks: Math.ceil((B * T) / rowsPerTask),
    args: [tokens, tokenTable, positions, out, B * T, T, V, C, rowsPerTask],
  });
}
