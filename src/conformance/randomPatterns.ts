import { lsh } from "../lsh.ts";
import { groupShape } from "../pattern/heads.ts";
import { pattern } from "../pattern/index.ts";
import { type AttentionShape, keyHeadOf, type Pattern } from "../pattern/pattern.ts";
import type { PartialStaircase } from "../staircase/check.ts";
import type { CaseInputs } from "./attention.ts";
import type { Draws } from "./draws.ts";

/** Draws a pattern for a shape; what is returned makes it from a case's inputs. */
type RandomPattern = (draws: Draws, shape: AttentionShape) => (inputs: CaseInputs) => Pattern;

const queries = ({ B, Tq, H }: AttentionShape) => [B, Tq, H];
const keys = ({ B, Tk, Hk }: AttentionShape) => [B, Tk, Hk];

/** How buckets are spread, as functions from 0 < u < 1 to a bucket for queries and one for keys. */
interface Spread {
  readonly buckets: number;
  readonly q: (u: number) => number;
  readonly k: (u: number) => number;
}

function evenSpread(draws: Draws): Spread {
  const buckets = draws.pick([1, 2, 3, 4, 8, 16, 64, 256]);
  const even = (u: number) => Math.floor(u * buckets);
  return { buckets, q: even, k: even };
}

/** Most queries in low buckets, most keys in high or in low ones. */
function skewedSpread(draws: Draws): Spread {
  const buckets = draws.pick([2, 3, 4, 8, 16, 64]);
  const [qPower, kPower] = [draws.whole(2, 6), draws.whole(2, 6)];
  const apart = draws.chance(0.5);
  const low = (u: number, power: number) => Math.floor(u ** power * buckets);
  return {
    buckets,
    q: (u) => low(u, qPower),
    k: (u) => (apart ? buckets - 1 - low(u, kPower) : low(u, kPower)),
  };
}

/** Buckets that hold only queries or only keys, and rows in no bucket at all. */
function emptySpread(draws: Draws): Spread {
  const buckets = draws.pick([4, 8, 16, 32]);
  const [qFirst, kFirst] = [draws.whole(-2, 3), draws.whole(-2, 3)];
  const width = draws.whole(1, buckets + 2);
  return { buckets, q: (u) => qFirst + Math.floor(u * width), k: (u) => kFirst + Math.floor(u * width) };
}

const anySpread = (draws: Draws): Spread =>
  draws.weighted([
    [2, evenSpread],
    [2, skewedSpread],
    [1, emptySpread],
  ])(draws);

const hashed =
  (spread: (draws: Draws) => Spread): RandomPattern =>
  (draws) => {
    const { buckets, q, k } = spread(draws);
    const diagonal = draws.chance(0.6);
    return (inputs) =>
      pattern.hash({
        qBuckets: inputs.ints(queries(inputs), q),
        kBuckets: inputs.ints(keys(inputs), k),
        buckets,
        diagonal,
      });
  };

/** Each query in the bucket of the key at its position. */
const sharedHash: RandomPattern = (draws) => {
  const { buckets, k } = draws.pick([evenSpread, skewedSpread])(draws);
  const diagonal = draws.chance(0.5);
  return (inputs) => {
    const { Tq, Tk, H, Hk } = inputs;
    const drawn: number[] = [];
    const kBuckets = inputs.ints(keys(inputs), (u) => drawn[drawn.push(k(u)) - 1]);
    if (Tq === Tk && H === Hk) return pattern.hash({ qBuckets: kBuckets, kBuckets, buckets, diagonal });
    let n = 0;
    const qBuckets = inputs.ints(queries(inputs), () => {
      const [h, i, b] = [n % H, Math.floor(n / H) % Tq, Math.floor(n++ / (H * Tq))];
      const position = Math.max(0, i + Tk - Tq);
      return drawn[(b * Tk + position) * Hk + keyHeadOf(inputs, h)];
    });
    return pattern.hash({ qBuckets, kBuckets, buckets, diagonal });
  };
};

const hashOfVectors: RandomPattern = (draws) => {
  const options = { buckets: draws.pick([2, 4, 8, 16]), seed: draws.seed() };
  const diagonal = draws.chance(0.5);
  return (inputs) => {
    const qBuckets = inputs.keep(lsh(inputs.q, { ...options, kvHeads: inputs.Hk }));
    return pattern.hash({
      ...{ qBuckets, kBuckets: inputs.keep(lsh(inputs.k, options)) },
      ...{ buckets: options.buckets, diagonal },
    });
  };
};

const hashBeyond: RandomPattern = (draws, { Tk }) => {
  const { buckets, q, k } = anySpread(draws);
  const beyond = draws.whole(1, Math.ceil(Tk / 2));
  return (inputs) => {
    const [qBuckets, kBuckets] = [inputs.ints(queries(inputs), q), inputs.ints(keys(inputs), k)];
    return pattern.hash({ qBuckets, kBuckets, buckets, beyond });
  };
};

/** Document ids: runs whose mean length is drawn; an id may come back. */
const documentIds = (draws: Draws, { Tk }: AttentionShape) => {
  const meanLength = draws.whole(1, Math.max(1, Tk));
  return (inputs: CaseInputs) => {
    let id = 0;
    return inputs.ints([inputs.B, inputs.Tk], (u) => {
      if (u * meanLength < 1) id = (id + 1) % 3;
      return id;
    });
  };
};

const hashDocuments: RandomPattern = (draws, shape) => {
  const { buckets, q, k } = anySpread(draws);
  const documents = documentIds(draws, shape);
  const diagonal = draws.chance(0.5);
  return (inputs) => {
    const [qBuckets, kBuckets] = [inputs.ints(queries(inputs), q), inputs.ints(keys(inputs), k)];
    return pattern.hash({ qBuckets, kBuckets, buckets, diagonal, documents: documents(inputs) });
  };
};

const chunkedHash: RandomPattern = (draws, shape) => {
  const { buckets, q, k } = anySpread(draws);
  const chunk = draws.whole(1, 40);
  const diagonal = draws.chance(0.5);
  const documents = draws.chance(0.3) ? documentIds(draws, shape) : () => null;
  return (inputs) => {
    const [qBuckets, kBuckets] = [inputs.ints(queries(inputs), q), inputs.ints(keys(inputs), k)];
    return pattern.chunkedHash({ qBuckets, kBuckets, buckets, chunk, diagonal, documents: documents(inputs) });
  };
};

/** A share of rows kept; now and then none or all. */
const keptShare = (draws: Draws) => draws.weighted([[1, 0] as const, [1, 1] as const, [8, draws.uniform()] as const]);

const drop: RandomPattern = (draws) => {
  const [qKept, kKept] = [keptShare(draws), keptShare(draws)];
  const [noQ, noK] = [draws.chance(0.15), draws.chance(0.15)];
  return (inputs) =>
    pattern.drop({
      qKeep: noQ ? null : inputs.ints(queries(inputs), (u) => (u < qKept ? 1 : 0)),
      kKeep: noK ? null : inputs.ints(keys(inputs), (u) => (u < kKept ? -1 : 0)),
    });
};

const window: RandomPattern = (draws, { Tk }) => {
  const size = draws.whole(1, Tk + 3);
  return () => pattern.window(size);
};

const windowWithinDocuments: RandomPattern = (draws, shape) => {
  const size = draws.whole(1, shape.Tk + 3);
  const documents = documentIds(draws, shape);
  return (inputs) => pattern.window(size, { documents: documents(inputs) });
};

const documents: RandomPattern = (draws, shape) => {
  const ids = documentIds(draws, shape);
  return (inputs) => pattern.documents(ids(inputs));
};

const strided: RandomPattern = (draws) => {
  const shards = draws.whole(1, 5);
  const [qShard, kShard] = [draws.whole(0, shards - 1), draws.whole(0, shards - 1)];
  return () => pattern.strided({ shards, qShard, kShard });
};

const stripes: RandomPattern = (draws, { Tk }) => {
  const kept = keptShare(draws);
  const beyond = draws.chance(0.5) ? { beyond: draws.whole(1, Math.ceil(Tk / 2)) } : {};
  return (inputs) => pattern.stripes({ kKeep: inputs.ints(keys(inputs), (u) => (u < kept ? 1 : 0)), ...beyond });
};

/** Disjoint unions: a window with what lies beyond it in either order, or all key shards of one query shard. */
const union: RandomPattern = (draws, shape) => {
  const kind = draws.pick(["hash", "stripes", "shards"] as const);
  const size = draws.whole(1, Math.ceil(shape.Tk / 2));
  const { buckets, q, k } = anySpread(draws);
  const kept = keptShare(draws);
  const windowLast = draws.chance(0.3);
  const shards = draws.whole(1, 3);
  return (inputs) => {
    if (kind === "shards") {
      return pattern.union(
        ...Array.from({ length: shards }, (_, kShard) => pattern.strided({ shards, qShard: 0, kShard })),
      );
    }
    const far =
      kind === "hash"
        ? pattern.hash({
            ...{ qBuckets: inputs.ints(queries(inputs), q), kBuckets: inputs.ints(keys(inputs), k) },
            ...{ buckets, beyond: size },
          })
        : pattern.stripes({ kKeep: inputs.ints(keys(inputs), (u) => (u < kept ? 1 : 0)), beyond: size });
    const near = pattern.window(size);
    return windowLast ? pattern.union(far, near) : pattern.union(near, far);
  };
};

/** Two or three groups of heads, each with a pattern of its own; groups may cut through heads that share a key head. */
const heads: RandomPattern = (draws, shape) => {
  const groups: { first: number; count: number; make: (inputs: CaseInputs) => Pattern }[] = [];
  for (let first = 0; first < shape.H; ) {
    const isLast = groups.length === 2 || first === shape.H - 1;
    const count = isLast ? shape.H - first : draws.whole(1, shape.H - first);
    const own = draws.pick([window, drop, hashed(anySpread), union, stripes, strided, documents, dense]);
    groups.push({ first, count, make: own(draws, groupShape(shape, first, count)) });
    first += count;
  }
  return (inputs) =>
    pattern.heads(
      groups.map(
        ({ first, count, make }) => [count, make({ ...inputs, ...groupShape(inputs, first, count) })] as const,
      ),
    );
};

const dense: RandomPattern = () => () => pattern.dense();

/** Rows in any order, some left out, and any intervals that never decrease: not causal. */
const staircase: RandomPattern = (draws, { B, Tq, Tk, H }) => {
  const count = draws.pick([1, H, B * H]);
  const given = Array.from({ length: count }, (): PartialStaircase => {
    const qRows = draws.permutation(Tq).slice(0, draws.chance(0.5) ? Tq : draws.whole(0, Tq));
    const kRows = draws.permutation(Tk).slice(0, draws.chance(0.5) ? Tk : draws.whole(0, Tk));
    const bounds = () => Int32Array.from(qRows, () => draws.whole(0, kRows.length)).sort();
    const lo = bounds();
    const hi = bounds().map((end, n) => Math.max(end, lo[n]));
    const inOrder = draws.chance(0.2) && qRows.length === Tq && kRows.length === Tk;
    return inOrder ? { lo, hi } : { qRows, kRows, lo, hi };
  });
  return () => pattern.staircase(given);
};

/** Every kind of pattern by name, with how often it is drawn. */
export const randomPatterns = {
  dense: { weight: 2, make: dense },
  window: { weight: 2, make: window },
  "window within documents": { weight: 1, make: windowWithinDocuments },
  documents: { weight: 1, make: documents },
  drop: { weight: 3, make: drop },
  "hash, even buckets": { weight: 2, make: hashed(evenSpread) },
  "hash, skewed buckets": { weight: 3, make: hashed(skewedSpread) },
  "hash, empty buckets": { weight: 2, make: hashed(emptySpread) },
  "hash, shared buckets": { weight: 3, make: sharedHash },
  "hash of vectors": { weight: 1, make: hashOfVectors },
  "hash beyond a window": { weight: 2, make: hashBeyond },
  "hash within documents": { weight: 1, make: hashDocuments },
  chunkedHash: { weight: 1, make: chunkedHash },
  strided: { weight: 1, make: strided },
  stripes: { weight: 1, make: stripes },
  union: { weight: 3, make: union },
  heads: { weight: 3, make: heads },
  staircase: { weight: 3, make: staircase },
} as const satisfies Record<string, { weight: number; make: RandomPattern }>;

export type RandomPatternKind = keyof typeof randomPatterns;
