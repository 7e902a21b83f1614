import type { Plan } from "../plan.ts";
import type { Tensor } from "../tensor.ts";

/** What each query of one sequence gives to each key, in one layer. */
export interface AttentionWeights {
  readonly heads: number;
  /** Queries, and keys, of the sequence. */
  readonly T: number;
  /** [heads, T, T], query before key: softmax weights, 0 where a key is not visible; a row adds up to 1, or to 0. */
  readonly weights: Float32Array;
}

/**
 * Makes the weights that a kernel never writes down: exp(scale * q k^T - lse) at the pairs that the staircases show. In
 * float64, on the host, for one sequence: T^2 numbers a head.
 * @param q [B, T, H, D]
 * @param k [B, T, Hk, D]
 * @param lse f32 [B, H, T], of the same pass
 */
export async function readAttentionWeights({
  q,
  k,
  lse,
  plan,
  scale,
  b,
}: {
  q: Tensor;
  k: Tensor;
  lse: Tensor;
  plan: () => Promise<Plan>;
  scale: number;
  b: number;
}): Promise<AttentionWeights> {
  const [, T, H, D] = q.shape as [number, number, number, number];
  const Hk = k.shape[2]!;
  const [queries, keys, sums, { parts }] = await Promise.all([
    q.slice(0, b, 1).read(),
    k.slice(0, b, 1).read(),
    lse.slice(0, b, 1).read(),
    plan(),
  ]);
  const weights = new Float32Array(H * T * T);
  for (const { h, qRows, kRows, lo, hi } of parts.flatMap((part) => part.heads).filter((head) => head.b === b)) {
    const keyHead = Math.floor((h * Hk) / H);
    for (let n = 0; n < T; n++) {
      const i = qRows[n]!;
      for (let m = lo[n]!; m < hi[n]!; m++) {
        const j = kRows[m]!;
        let score = 0;
        for (let d = 0; d < D; d++) score += queries[(i * H + h) * D + d]! * keys[(j * Hk + keyHead) * D + d]!;
        weights[(h * T + i) * T + j] = Math.exp(scale * score - sums[h * T + i]!);
      }
    }
  }
  return { heads: H, T, weights };
}
