import { lsh } from "../lsh.ts";
import { pattern } from "../pattern/index.ts";
import type { Pattern } from "../pattern/pattern.ts";
import type { AttentionCase, CaseInputs } from "./attention.ts";

type Sizes = Partial<Pick<AttentionCase, "B" | "Tq" | "Tk" | "H" | "Hk" | "D" | "scale" | "oneProjection">> & {
  /** Tq and Tk. */
  readonly T?: number;
};

function make(name: string, { T = 67, ...sizes }: Sizes, makePattern: AttentionCase["pattern"]): AttentionCase {
  const { H = 2, Hk = H } = sizes;
  return { B: 1, Tq: T, Tk: T, H, Hk, D: 32, seed: seedOf(name), ...sizes, name, pattern: makePattern };
}

/** A number of its own for each name (FNV-1a). */
function seedOf(name: string): number {
  let seed = 0x811c9dc5;
  for (let n = 0; n < name.length; n++) seed = Math.imul(seed ^ name.charCodeAt(n), 0x01000193);
  return seed >>> 0;
}

const queries = ({ B, Tq, H }: CaseInputs) => [B, Tq, H];
const keys = ({ B, Tk, Hk }: CaseInputs) => [B, Tk, Hk];

/** Buckets drawn evenly, for queries and keys each on its own. */
function even(inputs: CaseInputs, buckets: number) {
  const bucket = (u: number) => Math.floor(u * buckets);
  return { qBuckets: inputs.ints(queries(inputs), bucket), kBuckets: inputs.ints(keys(inputs), bucket), buckets };
}

/** Most queries in low buckets and most keys in high ones; some buckets stay empty. */
function skewed(inputs: CaseInputs, buckets: number) {
  const low = (u: number) => Math.floor(u ** 3 * buckets);
  const qBuckets = inputs.ints(queries(inputs), low);
  const kBuckets = inputs.ints(keys(inputs), (u) => buckets - 1 - low(u));
  return { qBuckets, kBuckets, buckets };
}

/** Documents of 1 position and more; ids come back. */
function documentIds(inputs: CaseInputs) {
  let id = 0;
  return inputs.ints([inputs.B, inputs.Tk], (u) => {
    if (u < 0.1) id = (id + 1) % 3;
    return id;
  });
}

const share = (kept: number) => (u: number) => (u < kept ? 1 : 0);
const dense = () => pattern.dense();

const sizes: AttentionCase[] = [
  ...[16, 24, 32, 40, 64, 72, 80, 96, 128, 200, 256].map((D) => make(`dense, D = ${D}`, { D }, dense)),
  ...[16, 24, 40, 64, 72, 128].map((D) =>
    make(`hash, D = ${D}`, { D, H: 4, Hk: 2 }, (inputs) => pattern.hash(even(inputs, 3))),
  ),
  make("dense, T = 1", { T: 1 }, dense),
  make("dense, one query, many keys", { Tq: 1, Tk: 130, H: 4, Hk: 1 }, dense),
  make("dense, fewer queries than keys", { Tq: 37, Tk: 101, B: 2 }, dense),
  make("dense, more queries than keys: the first see nothing", { Tq: 101, Tk: 37, B: 2 }, dense),
  make("dense, no queries: dk = dv = 0", { Tq: 0, Tk: 5 }, dense),
  make("dense, no keys: o = 0, lse = -Infinity", { Tq: 5, Tk: 0 }, dense),
  make("dense, six heads share two key heads", { H: 6, Hk: 2, B: 2 }, dense),
  make("dense, three batch entries, T = 130", { T: 130, B: 3, D: 64 }, dense),
  make("dense, T = 301", { T: 301, H: 1, D: 64 }, dense),
  make("dense, scores whose exp overflows float32", { T: 90, D: 64, scale: 4 }, dense),
];

/** Scores that fall where they usually rise, and scores that are all alike. */
const scales: AttentionCase[] = [
  { name: "a negative scale", scale: -0.125 },
  { name: "scale 0: the mean of what is seen", scale: 0 },
].flatMap(({ name, scale }) => [
  make(`dense, ${name}`, { T: 150, D: 64, scale }, dense),
  make(`dense, ${name}, D = 128, grouped heads`, { T: 70, H: 4, Hk: 2, D: 128, scale }, dense),
  make(`hash, ${name}`, { T: 150, D: 64, scale }, (inputs) => pattern.hash(even(inputs, 3))),
  make(`hash, ${name}, D = 40, skewed`, { T: 110, D: 40, scale }, (inputs) => pattern.hash(skewed(inputs, 4))),
]);

const bands: AttentionCase[] = [
  make("window of 1: o = v", {}, () => pattern.window(1)),
  make("window of 17, grouped heads", { T: 131, H: 4, Hk: 2 }, () => pattern.window(17)),
  make("window of 64, T = 257", { T: 257, H: 1, D: 64 }, () => pattern.window(64)),
  make("window wider than the sequence", {}, () => pattern.window(1000)),
  make("window of 20, fewer queries than keys", { Tq: 45, Tk: 99 }, () => pattern.window(20)),
  make("documents", { T: 140, B: 2 }, (inputs) => pattern.documents(documentIds(inputs))),
  make("documents, fewer queries than keys", { Tq: 50, Tk: 80, B: 2 }, (inputs) =>
    pattern.documents(documentIds(inputs)),
  ),
  make("window of 9 within documents", { T: 140, B: 2 }, (inputs) =>
    pattern.window(9, { documents: documentIds(inputs) }),
  ),
];

const drops: AttentionCase[] = [
  ...[0.7, 0.3].map((kept) =>
    make(`drop, ${kept * 100}% kept, grouped heads`, { T: 150, H: 4, Hk: 2 }, (inputs) =>
      pattern.drop({
        qKeep: inputs.ints(queries(inputs), share(kept)),
        kKeep: inputs.ints(keys(inputs), share(kept)),
      }),
    ),
  ),
  make("drop of keys only", {}, (inputs) =>
    pattern.drop({ qKeep: null, kKeep: inputs.ints(keys(inputs), share(0.5)) }),
  ),
  make("drop of queries only, any value but 0 keeps", {}, (inputs) =>
    pattern.drop({ qKeep: inputs.ints(queries(inputs), (u) => Math.floor(u * 4) - 1), kKeep: null }),
  ),
  make("drop of every key: o = 0, lse = -Infinity", {}, (inputs) =>
    pattern.drop({ qKeep: null, kKeep: inputs.ints(keys(inputs), () => 0) }),
  ),
  make("drop of every query: no gradient", {}, (inputs) =>
    pattern.drop({ qKeep: inputs.ints(queries(inputs), () => 0), kKeep: null }),
  ),
  make("drop, fewer queries than keys", { Tq: 60, Tk: 90, B: 2 }, (inputs) =>
    pattern.drop({ qKeep: inputs.ints(queries(inputs), share(0.5)), kKeep: inputs.ints(keys(inputs), share(0.5)) }),
  ),
];

const hashes: AttentionCase[] = [
  make("hash, 4 even buckets, T = 261", { T: 261, D: 64 }, (inputs) => pattern.hash(even(inputs, 4))),
  make("hash without the diagonal", { T: 130, B: 2 }, (inputs) =>
    pattern.hash({ ...even(inputs, 4), diagonal: false }),
  ),
  make("hash, queries and keys skewed apart, most rows empty", { T: 180, H: 3 }, (inputs) =>
    pattern.hash(skewed(inputs, 8)),
  ),
  make("hash, skewed, grouped heads", { T: 120, H: 4, Hk: 2, B: 2 }, (inputs) => pattern.hash(skewed(inputs, 3))),
  make("hash, T = 700: several tiles of each bucket", { T: 700, H: 1, D: 64 }, (inputs) =>
    pattern.hash(even(inputs, 3)),
  ),
  make("hash, T = 450, buckets shared, D = 128", { T: 450, H: 1, D: 128 }, (inputs) => {
    const buckets = inputs.ints(keys(inputs), (u) => Math.floor(u * 4));
    return pattern.hash({ qBuckets: buckets, kBuckets: buckets, buckets: 4, diagonal: false });
  }),
  make("hash, D = 128, skewed, grouped heads", { T: 200, H: 4, Hk: 2, D: 128 }, (inputs) =>
    pattern.hash(skewed(inputs, 4)),
  ),
  make("hash, one bucket: dense", {}, (inputs) => pattern.hash(even(inputs, 1))),
  make("hash, 256 buckets for 67 rows", {}, (inputs) => pattern.hash(even(inputs, 256))),
  make("hash, every query in a bucket without keys", {}, (inputs) =>
    pattern.hash({ qBuckets: inputs.ints(queries(inputs), () => 0), kBuckets: inputs.ints(keys(inputs), () => 1) }),
  ),
  make("hash, rows out of range take no part", { T: 100 }, (inputs) => {
    const bucket = (u: number) => Math.floor(u * 8) - 2;
    const [qBuckets, kBuckets] = [inputs.ints(queries(inputs), bucket), inputs.ints(keys(inputs), bucket)];
    return pattern.hash({ qBuckets, kBuckets, buckets: 4 });
  }),
  make("hash, fewer queries than keys", { Tq: 41, Tk: 103, B: 2 }, (inputs) => pattern.hash(even(inputs, 4))),
  make("hash, more queries than keys", { Tq: 103, Tk: 41 }, (inputs) => pattern.hash(even(inputs, 4))),
  make("hash beyond a window", { T: 120 }, (inputs) => pattern.hash({ ...even(inputs, 3), beyond: 10 })),
  make("hash within documents", { T: 150, B: 2 }, (inputs) =>
    pattern.hash({ ...even(inputs, 3), documents: documentIds(inputs) }),
  ),
  make("hash of the vectors themselves, keys shared by two heads", { T: 128, H: 4, Hk: 2, D: 64 }, (inputs) => {
    const qBuckets = inputs.keep(lsh(inputs.q, { buckets: 8, seed: 3, kvHeads: inputs.Hk }));
    return pattern.hash({ qBuckets, kBuckets: inputs.keep(lsh(inputs.k, { buckets: 8, seed: 3 })), buckets: 8 });
  }),
  make("chunkedHash, skewed", { T: 150 }, (inputs) => pattern.chunkedHash({ ...skewed(inputs, 3), chunk: 16 })),
  make("chunkedHash within documents, without the diagonal", { T: 120, B: 2 }, (inputs) =>
    pattern.chunkedHash({ ...even(inputs, 2), chunk: 7, diagonal: false, documents: documentIds(inputs) }),
  ),
];

const others: AttentionCase[] = [
  make("strided, shard 1 meets shard 2 of 3", { T: 130 }, () => pattern.strided({ shards: 3, qShard: 1, kShard: 2 })),
  make("stripes", { T: 130, H: 4, Hk: 2 }, (inputs) =>
    pattern.stripes({ kKeep: inputs.ints(keys(inputs), share(0.2)) }),
  ),
  make("stripes beyond 24", { T: 130 }, (inputs) =>
    pattern.stripes({ kKeep: inputs.ints(keys(inputs), share(0.2)), beyond: 24 }),
  ),
  make("staircase of blocks that look ahead, some rows left out", { T: 96, H: 4, Hk: 2 }, () =>
    pattern.staircase(blocks(96, 8, [3, 50])),
  ),
  make("staircase, one for each head", { T: 96, H: 4, Hk: 2 }, () =>
    pattern.staircase([4, 8, 12, 24].map((size) => blocks(96, size, [size]))),
  ),
];

/** Rows in reverse, cut into blocks; each query sees the keys of its own block and the one before. */
function blocks(T: number, size: number, leftOut: readonly number[]) {
  const rows = Int32Array.from({ length: T }, (_, n) => T - 1 - n).filter((row) => !leftOut.includes(row));
  const block = (n: number) => Math.floor(n / size);
  return {
    qRows: rows,
    kRows: rows,
    lo: rows.map((_, n) => Math.max(0, block(n) - 1) * size),
    hi: rows.map((_, n) => Math.min(rows.length, (block(n) + 1) * size)),
  };
}

/** What the pattern of a group of heads is made from. */
const groupOf = (inputs: CaseInputs, heads: { H: number; Hk: number }): CaseInputs => ({ ...inputs, ...heads });

const windowAndHash = (inputs: CaseInputs, w = 12): Pattern =>
  pattern.union(pattern.window(w), pattern.hash({ ...even(inputs, 4), beyond: w }));

const mixtures: AttentionCase[] = [
  make("union of window and hash beyond it", { T: 200, H: 4, Hk: 2 }, (inputs) => windowAndHash(inputs)),
  make("union of hash and window, the one that sees less first", { T: 130 }, (inputs) =>
    pattern.union(pattern.hash({ ...skewed(inputs, 8), beyond: 9 }), pattern.window(9)),
  ),
  make("union of window, stripes and all shards of a second head", { T: 90 }, (inputs) =>
    pattern.heads([
      [
        1,
        pattern.union(
          pattern.window(8),
          pattern.stripes({ kKeep: inputs.ints([inputs.B, inputs.Tk, 1], share(0.2)), beyond: 8 }),
        ),
      ],
      [1, pattern.union(...[0, 1, 2, 3].map((n) => pattern.strided({ shards: 2, qShard: n % 2, kShard: n >> 1 })))],
    ]),
  ),
  make("heads: half window, half hash", { T: 150, H: 4, D: 64 }, (inputs) =>
    pattern.heads([
      [2, pattern.window(16)],
      [2, pattern.hash(even(groupOf(inputs, { H: 2, Hk: 2 }), 4))],
    ]),
  ),
  make("heads: groups that cut through shared key heads", { T: 110, H: 6, Hk: 2, B: 2 }, (inputs) =>
    pattern.heads([
      [1, pattern.window(16)],
      [4, windowAndHash(groupOf(inputs, { H: 4, Hk: 2 }))],
      [1, pattern.dense()],
    ]),
  ),
];

const views: AttentionCase[] = [
  make("dense, views of one projection, D = 64", { T: 130, H: 2, D: 64, B: 2, oneProjection: true }, dense),
  make("hash, views of one projection, D = 40", { T: 130, H: 4, Hk: 2, D: 40, oneProjection: true }, (inputs) =>
    pattern.hash(even(inputs, 4)),
  ),
  make("drop, views of one projection", { T: 130, H: 4, Hk: 2, B: 2, oneProjection: true }, (inputs) =>
    pattern.drop({ qKeep: inputs.ints(queries(inputs), share(0.4)), kKeep: inputs.ints(keys(inputs), share(0.4)) }),
  ),
  make("heads and a union, views of one projection", { T: 110, H: 6, Hk: 2, D: 24, oneProjection: true }, (inputs) =>
    pattern.heads([
      [2, pattern.window(16)],
      [4, windowAndHash(groupOf(inputs, { H: 4, Hk: 2 }))],
    ]),
  ),
];

/** The same cases with another head dimension. */
function withD(D: number, cases: readonly AttentionCase[]): AttentionCase[] {
  return cases.filter((one) => one.D !== D).map((one) => ({ ...one, D, name: `${one.name}, D = ${D}` }));
}

/** Devices have kernels of their own for the usual dimensions, so what a pattern asks of one is asked of all. */
const atTunedDimensions = [...withD(64, [...bands, ...drops, ...hashes, ...others, ...mixtures]), ...withD(128, drops)];

/** Every pattern, with sizes and data that kernels get wrong. */
export const attentionCases: readonly AttentionCase[] = [
  ...sizes,
  ...scales,
  ...bands,
  ...drops,
  ...hashes,
  ...others,
  ...mixtures,
  ...views,
  ...atTunedDimensions,
];
