import { openReferenceDevice, referenceValues } from "../reference/device.ts";
import { hashScores } from "../reference/sparsityOps.ts";
import { arithmetic, type Precision } from "../reference/values.ts";
import { lshRotations } from "../rng.ts";
import type { Tensor } from "../tensor.ts";
import type { ConformanceCase, Verdict } from "./case.ts";
import { compare, seedOf, Trial, worstOf } from "./trial.ts";

interface Problem {
  readonly says: string;
  /** B, T, H, D and buckets. */
  readonly size: readonly [number, number, number, number, number];
  /** Of all features; their deviation is 1. */
  readonly mean?: number;
  /** Heads of the keys whose moments count; their mean is the other sign's. Default: those of x itself do. */
  readonly keyHeads?: number;
  /** Rows of each call; the moments go from one to the next. Default: all at once. */
  readonly calls?: readonly number[];
}

const problems: Problem[] = [
  { says: "16 buckets", size: [2, 33, 3, 16, 16] },
  { says: "one row", size: [2, 1, 3, 24, 2] },
  { says: "6 buckets, a mean of 100 deviations", size: [1, 50, 2, 40, 6], mean: 100 },
  { says: "256 buckets", size: [1, 140, 1, 64, 256] },
  { says: "a long sequence, a mean of 100 deviations", size: [1, 2500, 2, 16, 16], mean: 100 },
  { says: "several heads, a mean of 3 deviations", size: [2, 700, 2, 24, 48], mean: 3 },
  { says: "48 buckets, D = 72", size: [1, 90, 2, 72, 48], mean: 3 },
  { says: "16 buckets, D = 128", size: [1, 90, 2, 128, 16], mean: 3 },
  { says: "8 buckets, D = 256", size: [1, 90, 1, 256, 8], mean: 3 },
  { says: "a sequence that grows by a few rows", size: [2, 40, 2, 64, 16], calls: [13, 1, 1, 25] },
  { says: "a long sequence in parts", size: [1, 2500, 1, 32, 32], mean: 100, calls: [1200, 1, 1299] },
  { says: "queries by their keys", size: [2, 700, 2, 24, 48], mean: 3, keyHeads: 2 },
  { says: "queries of grouped heads, D = 64", size: [1, 90, 6, 64, 16], mean: 3, keyHeads: 2 },
  {
    says: "queries by keys of a sequence in parts",
    size: [2, 600, 2, 64, 16],
    mean: 3,
    keyHeads: 1,
    calls: [257, 1, 342],
  },
  { says: "few queries by their keys, 256 buckets, D = 64", size: [1, 37, 1, 64, 256], keyHeads: 1 },
];

/** What a trial hashes. */
interface Inputs {
  readonly x: Tensor;
  readonly rotations: Tensor;
  readonly moments: Tensor;
  readonly relativeTo: Tensor | null;
}

function inputsOf(t: Trial, { size: [B, T, H, D, buckets], mean = 0, keyHeads }: Problem): Inputs {
  const all = t.normal([B, T, 2 * H * D], { shift: mean });
  const drawn = lshRotations({ seed: 5, H, D, buckets });
  return {
    x: all.view([B, T, H, D], { strides: [T * 2 * H * D, 2 * H * D, D, 1], offset: H * D }),
    rotations: t.floats([H, D, buckets / 2], (i) => drawn[i], { dtype: "f32" }),
    moments: t.poison([B, H, buckets / 2, 2], { dtype: "f32" }),
    relativeTo: keyHeads ? t.normal([B, T, keyHeads, D], { shift: -mean }) : null,
  };
}

/** Buckets of all rows by a device, [B, T, H]. */
async function hashInCalls(
  t: Trial,
  { x, rotations, moments, relativeTo }: Inputs,
  calls: readonly number[],
): Promise<Int32Array> {
  const [B, T, H] = x.shape;
  const buckets = new Int32Array(B * T * H);
  let firstPosition = 0;
  for (const rows of calls) {
    const out = t.poisonInts([B, rows, H]);
    const part = { x: x.slice(1, firstPosition, rows), relativeTo: relativeTo?.slice(1, firstPosition, rows) ?? null };
    t.ops.lshBuckets({ ...part, rotations, moments, firstPosition, out });
    const found = await out.read();
    for (let b = 0; b < B; b++) {
      buckets.set(found.subarray(b * rows * H, (b + 1) * rows * H) as Int32Array, (b * T + firstPosition) * H);
    }
    firstPosition += rows;
  }
  return buckets;
}

/** The scores of all buckets, [B, T, H] of them, in float64 or straightforward float32; leaves the moments. */
function scoresOf(inputs: Inputs, precision: Precision): number[][] {
  const [B, T, H] = inputs.x.shape;
  const all: number[][] = [];
  for (let b = 0; b < B; b++) {
    for (let t = 0; t < T; t++) {
      for (let h = 0; h < H; h++) {
        const scores = hashScores(inputs, { b, t, h }, arithmetic[precision].sum);
        all.push([...scores, ...scores.map((score) => -score)]);
      }
    }
  }
  return all;
}

/**
 * Scores may be wrong by twice the error of straightforward float32 and a floor, so of two that are closer than twice that
 * either may seem the larger: by so much the chosen bucket's exact score may fall short of the best.
 */
function judgeBuckets(buckets: Int32Array, exact: number[][], plain: number[][], [, T, H]: Problem["size"]): Verdict {
  let [worstError, worstAt, plainError, largest] = [0, 0, 0, 0];
  for (const [i, scores] of exact.entries()) {
    const best = Math.max(...scores);
    const shortfall = best - (scores[buckets[i]] ?? Number.NEGATIVE_INFINITY);
    if (shortfall > worstError) [worstError, worstAt] = [shortfall, i];
    for (const [n, score] of scores.entries()) plainError = Math.max(plainError, Math.abs(plain[i][n] - score));
    largest = Math.max(largest, best);
  }
  const budget = 2 * (2 * plainError + 1e-6 * largest);
  const where = `out[${Math.floor(worstAt / (T * H))},${Math.floor(worstAt / H) % T},${worstAt % H}]`;
  return { pass: worstError <= budget, worstError, budget, where };
}

/** Means and sums of squares apart: each has its own size. */
function judgeMoments(tested: Tensor, actual: ArrayLike<number>, exact: Tensor, plain: Tensor): Verdict {
  const shape = tested.shape.slice(0, 3);
  const part = (values: ArrayLike<number>, n: number) =>
    Float64Array.from({ length: values.length / 2 }, (_, i) => values[2 * i + n]);
  return worstOf(
    ["mean", "M2"].map((name, n) =>
      compare(
        name,
        { dtype: "f32", shape },
        part(actual, n),
        part(referenceValues(exact), n),
        part(referenceValues(plain), n),
      ),
    ),
  );
}

/** Claims about balanced hashing: buckets of standardised projections, and the moments that are left. */
export const balancedCases: ConformanceCase[] = problems.map((problem) => {
  const name = `lshBuckets: balances ${problem.says}`;
  return {
    name,
    room: "lshBuckets",
    async run(device, computeType = device.capabilities.floatTypes[0]) {
      const devices = [device, openReferenceDevice(), openReferenceDevice({ precision: "f32" })];
      const trials = devices.map((on) => new Trial(on, seedOf(name), computeType));
      try {
        const [tested, exact, plain] = trials.map((t) => inputsOf(t, problem));
        const buckets = await hashInCalls(trials[0], tested, problem.calls ?? [problem.size[1]]);
        const scores = [scoresOf(exact, "f64"), scoresOf(plain, "f32")] as const;
        return worstOf([
          judgeBuckets(buckets, ...scores, problem.size),
          judgeMoments(tested.moments, await tested.moments.read(), exact.moments, plain.moments),
        ]);
      } finally {
        for (const trial of trials) trial.dispose();
      }
    },
  };
});
