import { type AttentionShape, keyHeadOf, type Mask } from "../pattern/pattern.ts";
import { exact, type Precision } from "./precision.ts";

/**
 * Attention over an explicit mask, forward and backward, as the textbook says it: the judge of every device. In
 * float64 by default; with another `precision` every result is rounded, which gives the straightforward attention of
 * that precision, whose error against float64 is the yardstick for a device's error.
 */
export interface ReferenceAttention {
  readonly shape: AttentionShape & { readonly D: number };
  /** [B, Tq, H, D], row-major, as are all arrays here */
  readonly q: ArrayLike<number>;
  /** [B, Tk, Hk, D] */
  readonly k: ArrayLike<number>;
  /** [B, Tk, Hk, D] */
  readonly v: ArrayLike<number>;
  readonly mask: Mask;
  /** Default 1 / sqrt(D). */
  readonly scale?: number;
  /** Default float64. */
  readonly precision?: Precision;
}

/** o [B, Tq, H, D] and lse [B, H, Tq]; a query that sees no key has o = 0, lse = -Infinity. */
export function attentionForward(call: ReferenceAttention): { o: Float64Array; lse: Float64Array } {
  const { B, Tq, H, D } = call.shape;
  const { store, sum } = call.precision ?? exact;
  const o = new Float64Array(B * Tq * H * D);
  const lse = new Float64Array(B * H * Tq);
  forEachQuery(call, ({ q, lse: at, keys, weights, logSumExp }) => {
    lse[at] = logSumExp;
    for (let d = 0; d < D; d++) {
      let total = 0;
      for (let n = 0; n < keys.length; n++) total = sum(total + sum(weights[n] * call.v[keys[n] + d]));
      o[q + d] = store(total);
    }
  });
  return { o, lse };
}

/**
 * Gradients of a loss whose gradient with respect to o is `dout`.
 * @param o [B, Tq, H, D], of the forward
 * @param dout [B, Tq, H, D]
 * @returns dq [B, Tq, H, D]; dk, dv [B, Tk, Hk, D]
 */
export function attentionBackward(
  call: ReferenceAttention,
  { o, dout }: { o: ArrayLike<number>; dout: ArrayLike<number> },
): { dq: Float64Array; dk: Float64Array; dv: Float64Array } {
  const { D } = call.shape;
  const { store, sum } = call.precision ?? exact;
  const dq = new Float64Array(call.q.length);
  const dk = new Float64Array(call.k.length);
  const dv = new Float64Array(call.v.length);
  const dot = dotProduct(D, sum);
  const addScaled = (target: Float64Array, at: number, factor: number, source: ArrayLike<number>, from: number) => {
    for (let d = 0; d < D; d++) target[at + d] = sum(target[at + d] + sum(factor * source[from + d]));
  };
  const scale = scaleOf(call);
  forEachQuery(call, ({ q, keys, weights }) => {
    const delta = dot(dout, q, o, q);
    for (let n = 0; n < keys.length; n++) {
      const key = keys[n];
      const dWeight = store(dot(dout, q, call.v, key));
      const dScore = store(weights[n] * sum(dWeight - delta));
      addScaled(dv, key, weights[n], dout, q);
      addScaled(dq, q, dScore, call.k, key);
      addScaled(dk, key, dScore, call.q, q);
    }
  });
  return { dq: dq.map((x) => store(sum(scale * x))), dk: dk.map((x) => store(sum(scale * x))), dv: dv.map(store) };
}

/** A query, the keys that it sees, and the softmax over them. */
interface QueryRow {
  /** Where the query's vector begins in q, o, dout, dq. */
  readonly q: number;
  /** Where its log-sum-exp stands in lse. */
  readonly lse: number;
  /** Where the visible keys' vectors begin in k, v, dk, dv. */
  readonly keys: readonly number[];
  /** softmax(scale * q k^T) over the visible keys */
  readonly weights: readonly number[];
  readonly logSumExp: number;
}

function forEachQuery(call: ReferenceAttention, visit: (row: QueryRow) => void): void {
  const { B, Tq, Tk, H, Hk, D } = call.shape;
  const { store, sum } = call.precision ?? exact;
  const scale = scaleOf(call);
  const dot = dotProduct(D, sum);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (let i = 0; i < Tq; i++) {
        const q = ((b * Tq + i) * H + h) * D;
        const keys: number[] = [];
        for (let j = 0; j < Tk; j++) {
          if (call.mask(b, h, i, j)) keys.push(((b * Tk + j) * Hk + keyHeadOf(call.shape, h)) * D);
        }
        const scores = keys.map((key) => store(sum(scale * dot(call.q, q, call.k, key))));
        const most = scores.reduce((a, x) => Math.max(a, x), Number.NEGATIVE_INFINITY);
        const powers = scores.map((x) => sum(Math.exp(sum(x - most))));
        const total = powers.reduce((a, x) => sum(a + x), 0);
        visit({
          q,
          lse: (b * H + h) * Tq + i,
          keys,
          weights: powers.map((x) => store(x / total)),
          logSumExp: keys.length > 0 ? sum(most + sum(Math.log(total))) : Number.NEGATIVE_INFINITY,
        });
      }
    }
  }
}

function scaleOf({ scale, shape, precision = exact }: ReferenceAttention): number {
  return precision.sum(scale ?? 1 / Math.sqrt(shape.D));
}

function dotProduct(D: number, sum: (x: number) => number) {
  return (x: ArrayLike<number>, xAt: number, y: ArrayLike<number>, yAt: number): number => {
    let total = 0;
    for (let d = 0; d < D; d++) total = sum(total + sum(x[xAt + d] * y[yAt + d]));
    return total;
  };
}
