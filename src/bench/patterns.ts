import { type Hash, type HeadPattern, parseAttention } from "../gpt/notation.ts";
import { sharedRotations } from "../lsh.ts";
import { type Pattern, pattern } from "../pattern/index.ts";
import { deriveSeed } from "../rng.ts";
import type { DType, Tensor } from "../tensor.ts";

/** A pattern over given queries and keys, and what was made for it (buckets, keep masks, what these are drawn from). */
export interface MadePattern {
  readonly pattern: Pattern;
  /** Enqueues hashing and dropping again, for the values that queries and keys have by now. */
  choose(): void;
  dispose(): void;
}

/** What patterns are made over. */
export interface PatternSource {
  /** [B, T, H, D] */
  readonly q: Tensor;
  /** [B, Tk, Hk, D]; Hk = H where the notation has several groups of heads */
  readonly k: Tensor;
  readonly seed: number;
  /** Whether keys have the buckets of the queries at their positions: one hashing serves both. Needs Tq = Tk, H = Hk. */
  readonly sharedQK: boolean;
}

/** What a pattern holds, and the ops that fill it. */
interface Made {
  readonly tensors: Tensor<DType>[];
  readonly choices: (() => void)[];
}

/**
 * Makes the pattern that the model's notation names (`hash(16)`, `window(256):4 dense:4`, ...) as a training step does:
 * queries and keys hashed with the same rotations, rows dropped at random, of queries and keys each on its own.
 * @throws ShapeError where the notation is wrong
 */
export function makePattern(notation: string, { q, k, seed, sharedQK }: PatternSource): MadePattern {
  const groups = parseAttention(notation, q.shape[2]!);
  const made: Made = { tensors: [], choices: [] };
  let firstHead = 0;
  const patterns = groups.map((group, part) => {
    const headCount = group.heads;
    const heads =
      groups.length === 1 ? { q, k } : { q: q.slice(2, firstHead, headCount), k: k.slice(2, firstHead, headCount) };
    firstHead += headCount;
    return [headCount, headPattern(group.pattern, { ...heads, seed: deriveSeed(seed, part), sharedQK, made })] as const;
  });
  const choose = () => {
    for (const choice of made.choices) choice();
  };
  choose();
  return {
    pattern: patterns.length === 1 ? patterns[0]![1] : pattern.heads(patterns),
    choose,
    dispose: () => {
      for (const tensor of made.tensors) tensor.dispose();
    },
  };
}

function headPattern(kind: HeadPattern, { q, k, seed, sharedQK, made }: PatternSource & { made: Made }): Pattern {
  const { device } = q;
  const keep = <D extends DType>(tensor: Tensor<D>): Tensor<D> => {
    made.tensors.push(tensor);
    return tensor;
  };
  const chosen = (x: Tensor, choose: (out: Tensor<"i32">) => void): Tensor<"i32"> => {
    const out = keep(device.empty(x.shape.slice(0, 3), "i32"));
    made.choices.push(() => choose(out));
    return out;
  };
  const bucketsOf = (x: Tensor, { buckets, balanced }: Hash) => {
    const [B, , H, D] = x.shape as [number, number, number, number];
    const drawn = sharedRotations({ buckets, seed, H, D, kvHeads: k.shape[2]! });
    const rotations = keep(device.tensor(drawn, [H, D, buckets / 2]));
    const moments = balanced ? keep(device.empty([B, H, buckets / 2, 2])) : null;
    const relativeTo = x === q && !sharedQK ? k : null;
    return chosen(x, (out) => device.ops.lshBuckets({ x, rotations, moments, relativeTo, out }));
  };
  const hashed = (hash: Hash) => {
    const qBuckets = bucketsOf(q, hash);
    return { qBuckets, kBuckets: sharedQK ? qBuckets : bucketsOf(k, hash), buckets: hash.buckets };
  };
  const mask = (x: Tensor, stream: number, share: number) => {
    const key = keep(device.tensor(Int32Array.of(seed, stream), [2]));
    return chosen(x, (out) => device.ops.keepMask({ key, keep: 1 - share, out }));
  };
  switch (kind.kind) {
    case "dense":
      return pattern.dense();
    case "window":
      return pattern.window(kind.size);
    case "hash":
      return pattern.hash({ ...hashed(kind), diagonal: kind.diagonal });
    case "drop":
      return pattern.drop({ qKeep: mask(q, 0, kind.share), kKeep: mask(k, 1, kind.share) });
    case "union":
      return pattern.union(pattern.window(kind.size), pattern.hash({ ...hashed(kind), beyond: kind.size }));
  }
}
