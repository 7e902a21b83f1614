import { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { attentionArgs, perQueryArgs, rowArgs } from "./attention_args.ts";
import { attentionDelta } from "./attention_delta.ts";
import type { CpuRuntime } from "./runtime.ts";

/** Floats of a tile of queries or keys: eight such tiles and the scores lie in the second-level cache. */
const tileFloats = 4096;
const blockRange = { min: 16, max: 128 } as const;

/** See `Ops.attentionBackward`. Tiles depend on shapes alone, so that the result does not depend on the threads. */
export function attentionBackward(runtime: CpuRuntime, args: Parameters<Ops["attentionBackward"]>[0]): void {
  const { q, k, dout, dq, dk, dv, accumulateQ = false, accumulateKV = false } = args;
  const [batch, queries, heads, dims] = q.shape as [number, number, number, number];
  const [, keys, keyHeads] = k.shape as [number, number, number, number];
  const block = Math.min(blockRange.max, Math.max(blockRange.min, Math.floor(tileFloats / dims / 8) * 8));
  const [blockM, blockN] = [block, block];
  const [queryTiles, keyTiles] = [Math.ceil(queries / blockM), Math.ceil(keys / blockN)];
  const turns = runtime.allocate(4 * batch * heads * queryTiles);
  const ownDelta = args.delta ? null : runtime.allocate(4 * batch * heads * queries);
  const delta = args.delta ?? new Tensor(q.device, ownDelta!, "f32", [batch, heads, queries]);
  if (ownDelta) attentionDelta(runtime, { o: args.o!, dout, delta });
  const launchArgs = [
    ...attentionArgs(args),
    ...[dout, dq, dk, dv].flatMap(rowArgs),
    ...perQueryArgs(delta),
    ...[turns, accumulateQ ? 1 : 0, accumulateKV ? 1 : 0, blockM, blockN, queryTiles, keyTiles],
  ];
  runtime.enqueue("attentionBackwardStart", { tasks: batch * heads * queryTiles, args: launchArgs });
  runtime.enqueue("attentionBackward", {
    tasks: batch * keyHeads * keyTiles,
    scratchBytes: 64 + 4 * (5 * blockN * dims + 3 * blockM * dims + 8 * blockM + blockM * blockN + 4 * blockM),
    args: launchArgs,
  });
  runtime.release(turns);
  if (ownDelta) runtime.release(ownDelta);
}
