import fc from "fast-check";
import { expect, test } from "vitest";
import { plan } from "../plan.ts";
import { openReferenceDevice } from "../reference/device.ts";
import { buildStaircase, readRule } from "../staircase/build.ts";
import type { Staircase } from "../staircase/staircase.ts";
import { allocateStaircase, uploadStaircases } from "../staircase/tensors.ts";
import { pattern } from "./index.ts";
import { lowerPattern } from "./lower.ts";
import type { AttentionShape, Pattern } from "./pattern.ts";

const device = openReferenceDevice();

/** Sizes of every kind: T = 0 and 1, odd, Tq above and below Tk, grouped heads. */
const shapes: fc.Arbitrary<AttentionShape> = fc
  .record({
    B: fc.integer({ min: 1, max: 2 }),
    Tq: fc.nat(13),
    Tk: fc.oneof(fc.nat(13), fc.constant(-1)),
    Hk: fc.integer({ min: 1, max: 3 }),
    headsPerKeyHead: fc.integer({ min: 1, max: 3 }),
  })
  .map(({ B, Tq, Tk, Hk, headsPerKeyHead }) => ({ B, Tq, Tk: Tk < 0 ? Tq : Tk, H: Hk * headsPerKeyHead, Hk }));

type Random = (from: number, to: number) => number;

/** Whole numbers drawn by a small linear congruential generator, so that one seed makes a pattern for any shape. */
function randomFrom(seed: number): Random {
  let state = seed;
  return (from, to) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return from + Math.floor((state / 2 ** 32) * (to - from + 1));
  };
}

function indices(shape: readonly number[], draw: () => number) {
  const size = shape.reduce((n, d) => n * d, 1);
  return device.tensor(Int32Array.from({ length: size }, draw), shape);
}

const queries = ({ B, Tq, H }: AttentionShape) => [B, Tq, H];
const keys = ({ B, Tk, Hk }: AttentionShape) => [B, Tk, Hk];

/** Non-decreasing at times, returning to earlier ids at others. */
function documentIds({ B, Tk }: AttentionShape, random: Random) {
  let id = 0;
  return indices([B, Tk], () => {
    if (random(0, 3) === 0) id = random(-2, 5);
    return id;
  });
}

/** Buckets that differ in size, leave some empty, and now and then lie out of range. */
function bucketsOf(size: readonly number[], random: Random, buckets: number) {
  const skew = random(1, 3);
  return indices(size, () =>
    random(0, 9) === 0 ? random(-3, buckets + 2) : Math.floor(random(0, buckets ** skew - 1) ** (1 / skew)),
  );
}

function hashOptions(shape: AttentionShape, random: Random) {
  const buckets = random(1, 4);
  return {
    qBuckets: bucketsOf(queries(shape), random, buckets),
    kBuckets: bucketsOf(keys(shape), random, buckets),
    buckets,
    diagonal: random(0, 1) === 1,
    ...(random(0, 2) === 0 ? { documents: documentIds(shape, random) } : {}),
    ...(random(0, 2) === 0 ? { beyond: random(1, 5) } : {}),
  };
}

/** A staircase of random partial rows and random steps. */
function rawStaircase({ Tq, Tk }: AttentionShape, random: Random, kRows = someRows(Tk, random)) {
  const qRows = someRows(Tq, random);
  const steps = () => Int32Array.from(qRows, () => random(0, kRows.length)).sort();
  const [one, other] = [steps(), steps()];
  const lo = one.map((x, n) => Math.min(x, other[n]));
  const hi = one.map((x, n) => Math.max(x, other[n]));
  return { qRows, kRows, lo, hi };
}

function someRows(length: number, random: Random): Int32Array {
  const order = Array.from({ length }, (_, row) => [random(0, 1000), row]).sort(([x], [y]) => x - y);
  return Int32Array.from(order.slice(0, random(0, length)), ([, row]) => row);
}

type Maker = (shape: AttentionShape, random: Random) => Pattern;

const simple: Record<string, Maker> = {
  dense: () => pattern.dense(),
  window: (_, random) => pattern.window(random(1, 15)),
  "window within documents": (shape, random) => pattern.window(random(1, 6), { documents: documentIds(shape, random) }),
  documents: (shape, random) => pattern.documents(documentIds(shape, random)),
  drop: (shape, random) =>
    pattern.drop({
      qKeep: random(0, 3) === 0 ? null : indices(queries(shape), () => random(-1, 1)),
      kKeep: random(0, 3) === 0 ? null : indices(keys(shape), () => random(-1, 2)),
    }),
  hash: (shape, random) => pattern.hash(hashOptions(shape, random)),
  chunkedHash: (shape, random) => pattern.chunkedHash({ ...hashOptions(shape, random), chunk: random(1, 5) }),
  strided(_, random) {
    const shards = random(1, 4);
    return pattern.strided({ shards, qShard: random(0, shards - 1), kShard: random(0, shards - 1) });
  },
  stripes: (shape, random) =>
    pattern.stripes({
      kKeep: indices(keys(shape), () => random(-1, 1)),
      ...(random(0, 1) === 0 ? { beyond: random(1, 4) } : {}),
    }),
  "one staircase": (shape, random) => pattern.staircase(rawStaircase(shape, random)),
  "a staircase a head": (shape, random) =>
    pattern.staircase(Array.from({ length: shape.H }, () => rawStaircase(shape, random))),
  "a staircase a head of each batch entry": (shape, random) => {
    const kRows = someRows(shape.Tk, random);
    return pattern.staircase(Array.from({ length: shape.B * shape.H }, () => rawStaircase(shape, random, kRows)));
  },
};

const makers: Record<string, Maker> = {
  ...simple,
  "union of window and hash": (shape, random) => {
    const w = random(1, 5);
    return pattern.union(pattern.window(w), pattern.hash({ ...hashOptions(shape, random), beyond: w }));
  },
  "union of window and stripes": (shape, random) => {
    const w = random(1, 5);
    return pattern.union(
      pattern.window(w),
      pattern.stripes({ kKeep: indices(keys(shape), () => random(0, 1)), beyond: w }),
    );
  },
  "union of all shards": (_, random) => {
    const shards = random(1, 3);
    const pairs = Array.from({ length: shards * shards }, (_, n) => [n % shards, Math.floor(n / shards)]);
    return pattern.union(...pairs.map(([qShard, kShard]) => pattern.strided({ shards, qShard, kShard })));
  },
  heads: headGroups,
  "heads of staircases": (shape, random) => {
    const first = random(1, shape.H);
    const perHead = simple["a staircase a head of each batch entry"];
    const groups = [first, shape.H - first].filter((count) => count > 0);
    return pattern.heads(groups.map((count) => [count, perHead({ ...shape, H: count }, random)]));
  },
};

/** Groups of random sizes, each with a random pattern of its own, some of them groups or unions again. */
function headGroups(shape: AttentionShape, random: Random): Pattern {
  const { B, Tq, Tk, H } = shape;
  const headsPerKeyHead = H / shape.Hk;
  const groups: [number, Pattern][] = [];
  for (let first = 0; first < H; ) {
    const count = random(1, H - first);
    const Hk = Math.floor((first + count - 1) / headsPerKeyHead) - Math.floor(first / headsPerKeyHead) + 1;
    const names = Object.keys(simple);
    const inner = random(0, 4) === 0 ? makers["union of window and hash"] : simple[names[random(0, names.length - 1)]];
    groups.push([count, inner({ B, Tq, Tk, H: count, Hk }, random)]);
    first += count;
  }
  return pattern.heads(groups);
}

/** The pairs that a plan's staircases show, as text, sorted; a pair shown twice stands twice. */
async function plannedPairs(made: Pattern, shape: AttentionShape): Promise<string[]> {
  const { parts, visiblePairs } = await plan(made, shape, { blockM: 4, blockN: 4 });
  const pairs: string[] = [];
  for (const { heads, firstHead, headCount } of parts) {
    expect(heads.map(({ b, h }) => [b, h])).toEqual(
      Array.from({ length: shape.B * headCount }, (_, n) => [Math.floor(n / headCount), firstHead + (n % headCount)]),
    );
    for (const { b, h, qRows, kRows, lo, hi } of heads) {
      expect(Array.from(qRows).sort((x, y) => x - y)).toEqual(Array.from({ length: shape.Tq }, (_, i) => i));
      expect(Array.from(kRows).sort((x, y) => x - y)).toEqual(Array.from({ length: shape.Tk }, (_, j) => j));
      for (const ends of [lo, hi]) {
        expect(ends).toHaveLength(shape.Tq);
        expect(ends).toEqual(ends.slice().sort());
      }
      for (let n = 0; n < shape.Tq; n++) {
        expect(0 <= lo[n] && lo[n] <= hi[n] && hi[n] <= shape.Tk).toBe(true);
        for (let m = lo[n]; m < hi[n]; m++) pairs.push(`${b},${h},${qRows[n]},${kRows[m]}`);
      }
    }
  }
  expect(visiblePairs).toBe(pairs.length);
  return pairs.sort();
}

async function maskedPairs(made: Pattern, shape: AttentionShape): Promise<string[]> {
  const mask = await made.mask(shape);
  const pairs: string[] = [];
  for (let b = 0; b < shape.B; b++) {
    for (let h = 0; h < shape.H; h++) {
      for (let i = 0; i < shape.Tq; i++) {
        for (let j = 0; j < shape.Tk; j++) if (mask(b, h, i, j)) pairs.push(`${b},${h},${i},${j}`);
      }
    }
  }
  return pairs.sort();
}

test.each(Object.entries(makers))("%s: its staircases show exactly the pairs of its mask", async (_, make) => {
  let pairs = 0;
  await fc.assert(
    fc.asyncProperty(shapes, fc.nat(), async (shape, seed) => {
      const made = make(shape, randomFrom(seed));
      const planned = await plannedPairs(made, shape);
      pairs += planned.length;
      expect(planned).toEqual(await maskedPairs(made, shape));
    }),
    { numRuns: 150 },
  );
  expect(pairs).toBeGreaterThan(100);
});

/** A staircase's tensors as nested arrays over (b, head), a leading size of 1 standing for all. */
async function readStaircase(staircase: Staircase, { B, H, Hk }: { B: number; H: number; Hk: number }) {
  const heads = { qRows: H, kRows: Hk, lo: H, hi: H, qLo: H, qHi: H };
  const arrays: Record<string, number[][]> = {};
  for (const name of Object.keys(heads) as (keyof typeof heads)[]) {
    const tensor = staircase[name];
    const values = await tensor?.read();
    arrays[name] = Array.from({ length: B * heads[name] }, (_, n) => {
      if (!tensor) return [];
      const [leadB, leadH, T] = tensor.shape;
      const [b, h] = [Math.floor(n / heads[name]) % leadB, (n % heads[name]) % leadH];
      return Array.from((values as Int32Array).subarray((b * leadH + h) * T, (b * leadH + h + 1) * T));
    });
  }
  return arrays;
}

test("staircases made on the host and by a device are the same", async () => {
  let compared = 0;
  const maker = fc.constantFrom(...Object.values(makers));
  await fc.assert(
    fc.asyncProperty(shapes, fc.nat(), maker, async (shape, seed, make) => {
      for (const part of lowerPattern(make(shape, randomFrom(seed)), shape)) {
        if ("host" in part.staircase) continue;
        const { rule } = part.staircase;
        const size = { ...shape, H: part.headCount, Hk: part.keyHeadCount };
        const built = allocateStaircase(device, rule, size);
        device.ops.staircase({ rule, out: built });
        const hostRule = await readRule(rule);
        const host = Array.from({ length: size.B * size.H }, (_, n) =>
          buildStaircase(hostRule, size, { b: Math.floor(n / size.H), h: n % size.H }),
        );
        const uploaded = uploadStaircases(device, host, size);
        const [onDevice, onHost] = [await readStaircase(built, size), await readStaircase(uploaded, size)];
        // An order that happens to be the identity is uploaded as none.
        const identity = (heads: number, T: number) =>
          Array.from({ length: size.B * heads }, () => Array.from({ length: T }, (_, row) => row));
        if (!uploaded.qRows && built.qRows) onHost["qRows"] = identity(size.H, size.Tq);
        if (!uploaded.kRows && built.kRows) onHost["kRows"] = identity(size.Hk, size.Tk);
        expect(onDevice).toEqual(onHost);
        compared++;
      }
    }),
    { numRuns: 200 },
  );
  expect(compared).toBeGreaterThan(50);
});

test("a union whose parts overlap is refused, with the pair", async () => {
  const shape = { B: 1, Tq: 6, Tk: 6, H: 1, Hk: 1 };
  const buckets = device.tensor(new Int32Array(6), [1, 6, 1]);
  const made = pattern.union(pattern.window(2), pattern.hash({ qBuckets: buckets, kBuckets: buckets, beyond: 1 }));
  await expect(plan(made, shape)).rejects.toThrow(
    "pattern.union: each pair is seen by one part only, got query 1 and key 0 of head 0 in batch entry 0 " +
      "seen by both part 0 and part 1. Give one of them a `beyond`.",
  );
  await expect(maskedPairs(made, shape)).rejects.toThrow(
    "query 1 and key 0 of head 0 in batch entry 0 seen by both window(2) and hash(256, beyond 1)",
  );
});

test("a plan of dense attention shows every causal pair and its tiles", async () => {
  const shape = { B: 2, Tq: 6, Tk: 6, H: 4, Hk: 2 };
  const { visiblePairs, visibleShare, tiles } = await plan(pattern.dense(), shape, { blockM: 2, blockN: 2 });
  expect(visiblePairs).toBe(2 * 4 * 21);
  expect(visibleShare).toBe(1);
  expect(tiles).toEqual({ skipped: 8 * 3, partial: 8 * 3, full: 8 * 3 });
});
