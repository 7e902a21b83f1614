import { checkStaircase } from "../staircase/check.ts";
import { requireWhole } from "./arguments.ts";
import type { Pattern } from "./pattern.ts";
import { positionOf } from "./words.ts";

/**
 * One step of Striped Attention (Brandon et al., arXiv 2311.09431): rows are dealt to `shards` devices in turn, and the
 * queries of shard `qShard` meet the keys of shard `kShard` at and before their positions. Other queries give o = 0.
 * The union over all kShards is dense causal attention for the queries of one shard.
 * @param shards at least 1
 * @param qShard query rows i with i % shards = qShard are visited
 * @param kShard key rows j with j % shards = kShard are visited
 * @throws ShapeError
 */
export function strided({ shards, qShard, kShard }: { shards: number; qShard: number; kShard: number }): Pattern {
  const op = "pattern.strided";
  requireWhole(op, "shards", shards, { least: 1 });
  requireWhole(op, "qShard", qShard, { least: 0, most: shards - 1 });
  requireWhole(op, "kShard", kShard, { least: 0, most: shards - 1 });
  return {
    name: `strided(${shards}, ${qShard}, ${kShard})`,
    lower(shape) {
      const qRows = rowsOfShard(shape.Tq, shards, qShard);
      const kRows = rowsOfShard(shape.Tk, shards, kShard);
      const hi = qRows.map((row) => {
        const keysBefore = Math.ceil((row + shape.Tk - shape.Tq + 1 - kShard) / shards);
        return Math.max(0, Math.min(keysBefore, kRows.length));
      });
      const host = [checkStaircase({ qRows, kRows, lo: new Int32Array(qRows.length), hi }, shape)];
      return [{ firstHead: 0, headCount: shape.H, staircase: { host } }];
    },
    mask: async (shape) => (_b, _h, i, j) =>
      i % shards === qShard && j % shards === kShard && j <= positionOf(shape, i),
  };
}

function rowsOfShard(length: number, shards: number, shard: number): Int32Array {
  const count = Math.max(0, Math.ceil((length - shard) / shards));
  return Int32Array.from({ length: count }, (_, n) => shard + n * shards);
}
