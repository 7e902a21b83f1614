import type { ConformanceCase } from "./case.ts";
import { claim, type Trial } from "./trial.ts";

const f32 = { dtype: "f32" } as const;

/** The gradient's scale, as ops take it. */
const scaleOf = (t: Trial, scale: number) => t.floats([1], () => scale, f32);

const loss: ConformanceCase[] = [
  ...[1, 2, 5, 257, 1000].map((V) =>
    claim("softmaxCrossEntropy", `gives losses alone, then gradients in place, V = ${V}`, (t) => {
      const N = 9;
      const [logits, targets] = [t.normal([N, V], { scale: 3 }), t.draws([N], V)];
      const [losses, again] = [t.poison([N], f32), t.poison([N], f32)];
      t.ops.softmaxCrossEntropy({ logits, targets, losses });
      t.ops.softmaxCrossEntropy({ logits, targets, losses: again, gradScale: scaleOf(t, 0.125) });
      return { losses, again, logits };
    }),
  ),
  claim("softmaxCrossEntropy", "leaves the logits if no gradient is asked for", (t) => {
    const [logits, losses] = [t.normal([3, 7]), t.poison([3], f32)];
    t.ops.softmaxCrossEntropy({ logits, targets: t.draws([3], 7), losses });
    return { logits };
  }),
  claim("softmaxCrossEntropy", "ignores a target of -1 and gives NaN for others out of range", (t) => {
    const [logits, losses] = [t.normal([4, 5]), t.poison([4], f32)];
    const targets = t.ints([4], (n) => [-1, 4, -2, 5][n]);
    t.ops.softmaxCrossEntropy({ logits, targets, losses, gradScale: scaleOf(t, 1) });
    return { logits, losses };
  }),
  claim("softmaxCrossEntropy", "neither overflows nor underflows on logits of ten thousand", (t) => {
    const logits = t.floats([3, 6], (i) => (i < 6 ? 1e4 : i < 12 ? -1e4 : (i % 2) * 2e4 - 1e4) + (i % 3));
    const losses = t.poison([3], f32);
    t.ops.softmaxCrossEntropy({ logits, targets: t.ints([3], () => 2), losses, gradScale: scaleOf(t, 1) });
    return { logits, losses };
  }),
  claim("softmaxCrossEntropy", "makes the gradient NaN wherever the loss is not finite", (t) => {
    const bad = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, Number.NaN, 2];
    // The first row's gradient would be finite: a target of probability zero, beside a sum that is well.
    const logits = t.floats([4, 5], (i) => (i % 5 === 3 ? bad[Math.floor(i / 5)] : (i % 5) / 4));
    const losses = t.poison([4], f32);
    t.ops.softmaxCrossEntropy({ logits, targets: t.ints([4], () => 3), losses, gradScale: scaleOf(t, 1) });
    return { logits, losses };
  }),
];

const norm: ConformanceCase[] = [
  ...[[1], [5], [3, 37], [100_003]].map((shape) =>
    claim("gradNorm", `is the root of the sum of squares of [${shape}]`, (t) => {
      const result = t.poison([1], f32);
      t.ops.gradNorm({ grad: t.normal(shape, f32), norm: result });
      return { norm: result };
    }),
  ),
  claim("gradNorm", "is not finite if an element is not", (t) => {
    const [infinite, nan] = [t.poison([1], f32), t.poison([1], f32)];
    const withOne = (bad: number) => t.floats([5001], (i) => (i === 4000 ? bad : 1), f32);
    t.ops.gradNorm({ grad: withOne(Number.NEGATIVE_INFINITY), norm: infinite });
    t.ops.gradNorm({ grad: withOne(Number.NaN), norm: nan });
    return { infinite, nan };
  }),
];

/** One call of adamw on n parameters, given what the norm and the limit are. */
function adamwClaim(name: string, n: number, normValue: number, maxNorm: number, factor = 1): ConformanceCase {
  return claim("adamw", `${name}, ${n} parameters`, (t) => {
    const [param, grad, m] = [t.normal([n], f32), t.normal([n], f32), t.normal([n], { ...f32, scale: 0.1 })];
    const v = t.floats([n], (i) => ((i % 7) + 1) * 0.01, f32);
    const control = t.floats([4], (i) => [1e-3, 0.19, 0.0975, factor][i], f32);
    const hyper = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 };
    const norm = t.floats([1], () => normValue, f32);
    // Its old values, so that it shows both when it is not written and when it must not be.
    const computed = t.normal([n]);
    const call = { grad, norm, control, maxNorm, ...hyper };
    t.ops.adamw({ param, computed, m, v, ...call });
    return { param, computed, m, v };
  });
}

const optimizer: ConformanceCase[] = [
  ...[1, 7, 1030].map((n) => adamwClaim("takes a step", n, 0.5, 1)),
  adamwClaim("clips a long gradient", 33, 40, 1),
  adamwClaim("never clips if the limit is Infinity", 33, 40, Number.POSITIVE_INFINITY),
  adamwClaim("scales before it clips", 33, 40, 1, 0.25),
  adamwClaim("takes a norm of zero", 33, 0, 1),
  adamwClaim("leaves everything if the norm is NaN", 33, Number.NaN, 1),
  adamwClaim("leaves everything if the norm is infinite", 33, Number.POSITIVE_INFINITY, 1),
];

/** Claims about the loss and the optimizer. */
export const trainingCases: ConformanceCase[] = [...loss, ...norm, ...optimizer];
