import type { Ops } from "../ops.ts";
import type { CpuRuntime } from "./runtime.ts";

const columnsPerTask = 64;

/** See `Ops.embedBackward`. */
export function embedBackward(
  runtime: CpuRuntime,
  { tokens, dout, dTokenTable, dPositionTable }: Parameters<Ops["embedBackward"]>[0],
): void {
  const [V, C] = dTokenTable.shape;
  const [B, T] = tokens.shape;
  runtime.enqueue("embedBackward", {
    tasks: Math.ceil(C / columnsPerTask),
    args: [tokens, dout, dTokenTable, dPositionTable, B * T, T, V, C, columnsPerTask],
  });
}
