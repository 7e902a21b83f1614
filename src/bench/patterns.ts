import { type HeadPattern, parseAttention } from "../gpt/notation.ts";
import { lsh } from "../lsh.ts";
import { type Pattern, pattern } from "../pattern/index.ts";
import { deriveSeed } from "../rng.ts";
import type { Tensor } from "../tensor.ts";

/** A pattern over given queries and keys, and what was made for it (buckets, keep masks). */
export interface MadePattern {
  readonly pattern: Pattern;
  dispose(): void;
}

/**
 * Makes the pattern that the model's notation names (`hash(16)`, `window(256):4 dense:4`, ...) as a training step does:
 * queries and keys hashed with the same rotations, rows dropped at random.
 * @param q [B, Tq, H, D]
 * @param k [B, Tk, Hk, D] with Hk = H where the notation has several groups of heads
 * @throws ShapeError where the notation is wrong
 */
export function makePattern(notation: string, { q, k, seed }: { q: Tensor; k: Tensor; seed: number }): MadePattern {
  const groups = parseAttention(notation, q.shape[2]!);
  const made: Tensor<"i32">[] = [];
  let firstHead = 0;
  const patterns = groups.map((group, part) => {
    const headCount = group.heads;
    const heads =
      groups.length === 1 ? { q, k } : { q: q.slice(2, firstHead, headCount), k: k.slice(2, firstHead, headCount) };
    firstHead += headCount;
    return [headCount, headPattern(group.pattern, { ...heads, seed: deriveSeed(seed, part), made })] as const;
  });
  return {
    pattern: patterns.length === 1 ? patterns[0]![1] : pattern.heads(patterns),
    dispose: () => {
      for (const tensor of made) tensor.dispose();
    },
  };
}

function headPattern(
  kind: HeadPattern,
  { q, k, seed, made }: { q: Tensor; k: Tensor; seed: number; made: Tensor<"i32">[] },
): Pattern {
  const keep = <T extends Tensor<"i32">>(tensor: T): T => {
    made.push(tensor);
    return tensor;
  };
  const hashed = (buckets: number) => ({
    qBuckets: keep(lsh(q, { buckets, seed, kvHeads: k.shape[2]! })),
    kBuckets: keep(lsh(k, { buckets, seed })),
    buckets,
  });
  const mask = (x: Tensor, stream: number, share: number) => {
    const out = keep(x.device.empty(x.shape.slice(0, 3), "i32"));
    x.device.ops.keepMask({ seed, stream, keep: 1 - share, out });
    return out;
  };
  switch (kind.kind) {
    case "dense":
      return pattern.dense();
    case "window":
      return pattern.window(kind.size);
    case "hash":
      return pattern.hash({ ...hashed(kind.buckets), diagonal: kind.diagonal });
    case "drop":
      return pattern.drop({ qKeep: mask(q, 0, kind.share), kKeep: mask(k, 1, kind.share) });
    case "union":
      return pattern.union(pattern.window(kind.size), pattern.hash({ ...hashed(kind.buckets), beyond: kind.size }));
  }
}
