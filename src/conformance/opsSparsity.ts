import { lshRotations } from "../rng.ts";
import type { Staircase, StaircaseRule } from "../staircase/staircase.ts";
import { balancedCases } from "./balancedHashing.ts";
import type { ConformanceCase } from "./case.ts";
import { claim, type Outputs, type Trial } from "./trial.ts";

/** B, T, H, D and buckets. */
const hashSizes = [
  [2, 33, 3, 16, 16],
  [1, 1, 1, 24, 2],
  [1, 50, 2, 40, 6],
  [1, 40, 1, 64, 256],
  [1, 35, 2, 72, 48],
  [1, 35, 2, 128, 16],
  [1, 35, 1, 256, 8],
];

const hashing: ConformanceCase[] = [
  ...hashSizes.map(([B, T, H, D, buckets]) =>
    claim("lshBuckets", `finds the nearest of ${buckets} directions in a view, D = ${D}`, (t) => {
      const all = t.normal([B, T, 2 * H * D]);
      const x = all.view([B, T, H, D], { strides: [T * 2 * H * D, 2 * H * D, D, 1], offset: H * D });
      const drawn = lshRotations({ seed: 5, H, D, buckets });
      const out = t.poisonInts([B, T, H]);
      t.ops.lshBuckets({ x, rotations: t.floats([H, D, buckets / 2], (i) => drawn[i], { dtype: "f32" }), out });
      return { out };
    }),
  ),
  claim("lshBuckets", "takes the lowest bucket on a tie", (t) => {
    const x = t.floats([1, 4, 1, 16], (i) => [0, 1, -1, 2][Math.floor(i / 16)] * (i % 16 === 0 ? 1 : 0));
    const out = t.poisonInts([1, 4, 1]);
    t.ops.lshBuckets({ x, rotations: t.floats([1, 16, 5], (i) => (i % 5) % 2, { dtype: "f32" }), out });
    return { out };
  }),
];

const masks: ConformanceCase[] = [
  { keep: 0.3, shape: [1001], seed: 1, stream: 0 },
  { keep: 0.7, shape: [2, 3, 5], seed: 0xffffffff, stream: 0x80000001 },
  { keep: 0.5, shape: [1], seed: 0, stream: 0 },
  { keep: 0, shape: [100], seed: 3, stream: 4 },
  { keep: 1, shape: [100], seed: 3, stream: 4 },
].map(({ keep, shape, seed, stream }) =>
  claim("keepMask", `draws [${shape}] by counter, keep = ${keep}`, (t) => {
    const out = t.poisonInts(shape);
    t.ops.keepMask({ key: t.ints([2], (i) => [seed | 0, stream | 0][i]), keep, out });
    return { out };
  }),
);

interface Sizes {
  B: number;
  Tq: number;
  Tk: number;
  H: number;
  Hk: number;
}

const all: StaircaseRule = {
  documents: null,
  qGroups: null,
  kGroups: null,
  groupCount: 1,
  near: 0,
  far: Number.POSITIVE_INFINITY,
  chunk: Number.POSITIVE_INFINITY,
};

/** Builds by a rule into poisoned memory; every number must come out the same on every device. */
function staircaseClaim(name: string, size: Sizes, rule: (t: Trial) => Partial<StaircaseRule>): ConformanceCase {
  return claim("staircase", name, (t) => {
    const given = { ...all, ...rule(t) };
    const grouped = given.qGroups !== null || given.kGroups !== null;
    const B = grouped || given.documents ? size.B : 1;
    const H = grouped ? size.H : 1;
    const out: Staircase = {
      qRows: given.qGroups ? t.poisonInts([B, H, size.Tq]) : null,
      kRows: given.kGroups ? t.poisonInts([B, size.Hk, size.Tk]) : null,
      lo: t.poisonInts([B, H, size.Tq]),
      hi: t.poisonInts([B, H, size.Tq]),
      qLo: t.poisonInts([B, H, size.Tk]),
      qHi: t.poisonInts([B, H, size.Tk]),
    };
    t.ops.staircase({ rule: given, out });
    return Object.fromEntries(Object.entries(out).filter(([, tensor]) => tensor !== null)) as Outputs;
  });
}

const square: Sizes = { B: 2, Tq: 37, Tk: 37, H: 4, Hk: 2 };
const short: Sizes = { ...square, Tq: 11 };
const long: Sizes = { ...square, Tq: 50, Tk: 20 };

/** Runs of ids that repeat after a while, as packed documents may. */
const documentsOf = (t: Trial, { B, Tk }: Sizes) => ({
  documents: t.ints([B, Tk], (i) => (i % 7 < 3 ? 5 : (i >> 3) % 2)),
});
const hashOf = (t: Trial, { B, Tq, Tk, H, Hk }: Sizes, groupCount: number, drawn = groupCount) => ({
  qGroups: t.draws([B, Tq, H], drawn),
  kGroups: t.draws([B, Tk, Hk], drawn),
  groupCount,
});

const staircases: ConformanceCase[] = [
  ...[square, short, long].flatMap((size) => {
    const label = `Tq = ${size.Tq}, Tk = ${size.Tk}`;
    return [
      staircaseClaim(`sees all that came before, ${label}`, size, () => ({})),
      staircaseClaim(`keeps a window, ${label}`, size, () => ({ far: 4 })),
      staircaseClaim(`keeps what lies between two distances, ${label}`, size, () => ({ near: 2, far: 9 })),
      staircaseClaim(`sees nothing if far = near - 1, ${label}`, size, () => ({ near: 3, far: 2 })),
      staircaseClaim(`ends at documents, ${label}`, size, (t) => documentsOf(t, size)),
      staircaseClaim(`sorts by group, ${label}`, size, (t) => hashOf(t, size, 5)),
      staircaseClaim(`sorts by group without the diagonal, ${label}`, size, (t) => ({
        ...hashOf(t, size, 5),
        near: 1,
      })),
      staircaseClaim(`sorts by group beyond a window, ${label}`, size, (t) => ({ ...hashOf(t, size, 3), near: 6 })),
      staircaseClaim(`sorts by group within documents, in a window, ${label}`, size, (t) => ({
        ...hashOf(t, size, 3),
        ...documentsOf(t, size),
        far: 7,
      })),
      staircaseClaim(`cuts groups into chunks, ${label}`, size, (t) => ({ ...hashOf(t, size, 3), chunk: 4 })),
      staircaseClaim(`leaves groups out of range out, ${label}`, size, (t) => hashOf(t, size, 3, 5)),
      staircaseClaim(`takes keep masks, ${label}`, size, (t) => ({ ...hashOf(t, size, 1, 3), keepMasks: true })),
      staircaseClaim(`drops keys alone, ${label}`, size, (t) => ({
        kGroups: t.draws([size.B, size.Tk, size.Hk], 2),
        keepMasks: true,
      })),
      staircaseClaim(`drops queries alone, within documents, ${label}`, size, (t) => ({
        qGroups: t.draws([size.B, size.Tq, size.H], 2),
        ...documentsOf(t, size),
      })),
    ];
  }),
  staircaseClaim("leaves groups empty, negative ones out", square, (t) => ({
    qGroups: t.ints([2, 37, 4], (i) => [0, 200, -1, 7][i % 4]),
    kGroups: t.ints([2, 37, 2], (i) => [7, 3, -9][i % 3]),
    groupCount: 256,
  })),
  staircaseClaim("takes all rows out", square, (t) => ({
    qGroups: t.ints([2, 37, 4], () => -1),
    kGroups: t.ints([2, 37, 2], () => 9),
    groupCount: 4,
  })),
  staircaseClaim("takes one row", { B: 1, Tq: 1, Tk: 1, H: 1, Hk: 1 }, (t) =>
    hashOf(t, { B: 1, Tq: 1, Tk: 1, H: 1, Hk: 1 }, 2),
  ),
  staircaseClaim("reads views of groups and documents", square, (t) => ({
    qGroups: t.draws([2, 37, 8], 3).slice(2, 3, 4),
    kGroups: t.draws([2, 40, 2], 3).slice(1, 3, 37),
    documents: t.ints([2, 50], (i) => i >> 4).slice(1, 5, 37),
    groupCount: 3,
  })),
  staircaseClaim("keeps order within groups over a long sequence", { B: 1, Tq: 2500, Tk: 2500, H: 2, Hk: 2 }, (t) => ({
    ...hashOf(t, { B: 1, Tq: 2500, Tk: 2500, H: 2, Hk: 2 }, 256),
    documents: t.ints([1, 2500], (i) => Math.floor(i / 900)),
  })),
];

/** Claims about hashing, keep masks and the staircase builder. */
export const sparsityCases: ConformanceCase[] = [...hashing, ...balancedCases, ...masks, ...staircases];
