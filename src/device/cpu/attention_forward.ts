import type { Ops } from "../ops.ts";
import { attentionArgs, rowArgs } from "./attention_args.ts";
import type { CpuRuntime } from "./runtime.ts";

/** Queries of a task: many, so that copying keys together pays; fewer where there would be too few tasks. */
const blockMRange = { min: 32, max: 128 } as const;
const wantedTasks = 64;
/** A tile of keys and one of values fit into the first-level cache together. */
const tileFloats = 4096;

/** See `Ops.attentionForward`. Tiles depend on shapes alone, so that the result does not depend on the threads. */
export function attentionForward(runtime: CpuRuntime, args: Parameters<Ops["attentionForward"]>[0]): void {
  const { q, o, merge = false } = args;
  const [batch, queries, heads, dims] = q.shape as [number, number, number, number];
  let blockM: number = blockMRange.max;
  while (blockM > blockMRange.min && Math.ceil(queries / blockM) * batch * heads < wantedTasks) blockM /= 2;
  const blockN = Math.min(128, Math.max(16, Math.floor(tileFloats / dims / 4) * 4));
  const tiles = Math.ceil(queries / blockM);
  runtime.enqueue("attentionForward", {
    tasks: tiles * batch * heads,
    scratchBytes: 4 * (2 * blockM * dims + 2 * blockN * dims + 8 * blockN + 4 * blockM),
    args: [...attentionArgs(args), ...rowArgs(o), merge ? 1 : 0, blockM, blockN, tiles],
  });
}
