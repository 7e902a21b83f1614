import type { Staircase, StaircaseRule } from "../staircase/staircase.ts";
import type { DType, Tensor } from "../tensor.ts";

/**
 * What every device computes. All ops take their outputs as arguments and allocate nothing that outlives the call, so
 * that a training step is a fixed list of launches. They are enqueued in order and return at once.
 *
 * Letters: B batch, T positions (Tq, Tk), H query heads, Hk key/value heads, D head dimension, C = H * D width,
 * V vocabulary, I and O the inner and outer widths of a product, N rows (B * T). "Strided" tensors may be any view with
 * a contiguous last dimension; all others are contiguous. Float tensors have the device's compute type unless a type
 * is named. "Adds into" means +=, and such outputs must be set before (see `fill`).
 */
export interface Ops {
  // -- memory ---------------------------------------------------------------------------------------------------------
  fill(args: { out: Tensor<DType>; value: number }): void;
  /** out = x; both strided, same shape and dtype. */
  copy(args: { x: Tensor<DType>; out: Tensor<DType> }): void;
  /** out = x in out's float type, rounded to nearest even. */
  cast(args: { x: Tensor; out: Tensor }): void;
  /** out = x + y, same shape. `out` may be x or y. */
  add(args: { x: Tensor; y: Tensor; out: Tensor }): void;

  // -- embedding ------------------------------------------------------------------------------------------------------
  /**
   * out[b,t] = tokenTable[tokens[b,t]] + positionTable[firstPosition + t].
   * tokens i32 [B,T], tokenTable [V,C], positionTable [P,C] or null with P >= firstPosition + T, out [B,T,C].
   * A token outside 0..V-1 gives NaN rows, so that it cannot pass unseen.
   */
  embed(args: {
    tokens: Tensor<"i32">;
    tokenTable: Tensor;
    positionTable: Tensor | null;
    firstPosition: number;
    out: Tensor;
  }): void;
  /** Adds into dTokenTable and dPositionTable (f32). Tokens outside 0..V-1 are passed over. */
  embedBackward(args: {
    tokens: Tensor<"i32">;
    dout: Tensor;
    dTokenTable: Tensor;
    dPositionTable: Tensor | null;
  }): void;

  // -- normalisation --------------------------------------------------------------------------------------------------
  /** out = (x - mean) * rstd * weight + bias over the last dimension; x, out [N,C]; weight, bias [C]; mean, rstd f32 [N]. */
  layerNorm(args: {
    x: Tensor;
    weight: Tensor;
    bias: Tensor | null;
    epsilon: number;
    out: Tensor;
    mean: Tensor;
    rstd: Tensor;
  }): void;
  /** Adds into dx (the residual stream's gradient), dWeight and dBias (f32). */
  layerNormBackward(args: {
    x: Tensor;
    weight: Tensor;
    mean: Tensor;
    rstd: Tensor;
    dout: Tensor;
    dx: Tensor;
    dWeight: Tensor;
    dBias: Tensor | null;
  }): void;
  /** out = x / max(|x|, epsilon) over the last dimension; x, out strided [B,T,H,D]. */
  normalizeRows(args: { x: Tensor; epsilon: number; out: Tensor }): void;
  /** Adds into dx; all strided [B,T,H,D]. */
  normalizeRowsBackward(args: { x: Tensor; epsilon: number; dout: Tensor; dx: Tensor }): void;

  // -- products -------------------------------------------------------------------------------------------------------
  /**
   * out = x w + bias + residual, or with `preGelu`: preGelu = x w + bias, out = gelu(preGelu) + residual.
   * x [N,I], w [I,O] (or [O,I] if `transposed`), bias [O], residual and out [N,O] (`out` may be `residual`).
   * gelu is the tanh form of GPT-2.
   */
  linear(args: {
    x: Tensor;
    w: Tensor;
    transposed?: boolean;
    bias?: Tensor | null;
    residual?: Tensor | null;
    preGelu?: Tensor | null;
    out: Tensor;
  }): void;
  /**
   * dx = dout w^T, times gelu'(preGelu) [N,I] if given (the gelu that made x); with `accumulate` adds into dx.
   * dout [N,O], dx [N,I].
   */
  linearBackwardInput(args: {
    dout: Tensor;
    w: Tensor;
    transposed?: boolean;
    preGelu?: Tensor | null;
    accumulate?: boolean;
    dx: Tensor;
  }): void;
  /** Adds x^T dout into dw (f32, shaped like w) and the column sums of dout into dBias (f32). */
  linearBackwardWeight(args: {
    x: Tensor;
    dout: Tensor;
    transposed?: boolean;
    dw: Tensor;
    dBias?: Tensor | null;
  }): void;

  // -- positions ------------------------------------------------------------------------------------------------------
  /**
   * Rotary position embedding (RoFormer, arXiv 2104.09864; the half-split layout of GPT-NeoX): feature i pairs with
   * i + D/2, turned by (firstPosition + t) * base^(-2i/D). `inverse` turns back, which is the backward.
   * x, out strided [B,T,H,D]; `out` may be x.
   */
  rope(args: { x: Tensor; base: number; firstPosition: number; inverse?: boolean; out: Tensor }): void;

  // -- sparsity -------------------------------------------------------------------------------------------------------
  /**
   * Angular hashing as in Reformer: bucket = argmax of [xR; -xR], the lowest index on a tie.
   * x strided [B,T,H,D], rotations f32 [H,D,R] with R = buckets / 2, out i32 [B,T,H].
   *
   * With `moments` it is balanced: what is compared is not the projection v of a row but (v - mean) / sqrt(max(M2 / n,
   * 1e-12)), with mean and sum of squared deviations M2 of that projection over the n rows of its (b, h) up to this one.
   * moments f32 [B,H,R,2] are mean and M2 of the `firstPosition` (default 0) rows before x, read if there are any, and
   * afterwards those up to the last row of x.
   *
   * With `relativeTo` strided [B,T,Hk,D], of Hk heads that divide H, the moments are those of its rows, head h * Hk / H
   * (down) of them, by the same rotations, in place of x's own.
   */
  lshBuckets(args: {
    x: Tensor;
    rotations: Tensor;
    moments?: Tensor | null;
    relativeTo?: Tensor | null;
    firstPosition?: number;
    out: Tensor<"i32">;
  }): void;
  /**
   * out[i] = 1 with probability `keep`, else 0: word 0 of threefry2x32-20 with key (seed, stream) at counter (i, 0),
   * kept when it is below keep * 2^32. out i32, any shape; key i32 [2] holds the bits of seed and stream, unsigned
   * 32-bit: on the device, so that a recorded step can be replayed.
   */
  keepMask(args: { key: Tensor<"i32">; keep: number; out: Tensor<"i32"> }): void;
  /**
   * Builds a staircase by its rule. `out` has full leading dimensions or 1 where the rule's inputs are the same for all;
   * qRows and kRows may be null only where the visit order is the identity (no groups).
   */
  staircase(args: { rule: StaircaseRule; out: Staircase }): void;

  // -- attention ------------------------------------------------------------------------------------------------------
  /**
   * o = softmax(scale * q k^T over the visible keys) v. A query that sees no key: o = 0, lse = -Infinity.
   * q, o strided [B,Tq,H,D]; k, v strided [B,Tk,Hk,D]; lse f32 [B,H,Tq], strided. Head h reads key head
   * floor(h * Hk / H).
   * `merge`: o and lse already hold the attention over other, disjoint keys; the result covers both.
   */
  attentionForward(args: {
    q: Tensor;
    k: Tensor;
    v: Tensor;
    staircase: Staircase;
    scale: number;
    merge?: boolean;
    o: Tensor;
    lse: Tensor;
  }): void;
  /**
   * delta[b,h,i] = sum over D of dout * o; f32 [B,H,Tq], strided like lse. Needed once before attentionBackward,
   * however many staircases follow.
   */
  attentionDelta(args: { o: Tensor; dout: Tensor; delta: Tensor }): void;
  /**
   * Gradients of attentionForward over one staircase, given lse and delta of the whole attention. Where one staircase is
   * the whole, delta may be null and o given instead: some devices then make delta on the way.
   * dq strided like q; dk, dv strided like k, v. `accumulateQ`, `accumulateKV` add into dq, or into dk and dv;
   * otherwise every row is written.
   */
  attentionBackward(args: {
    q: Tensor;
    k: Tensor;
    v: Tensor;
    staircase: Staircase;
    scale: number;
    lse: Tensor;
    delta: Tensor | null;
    o?: Tensor;
    dout: Tensor;
    accumulateQ?: boolean;
    accumulateKV?: boolean;
    dq: Tensor;
    dk: Tensor;
    dv: Tensor;
  }): void;

  // -- loss and optimizer ---------------------------------------------------------------------------------------------
  /**
   * losses[n] = logsumexp(logits[n]) - logits[n, targets[n]] in nats, and, with `gradScale` given, logits[n] becomes
   * (softmax - onehot) * gradScale in place. A target of -1 is ignored: loss 0, gradient 0. Any other target outside
   * 0..V-1 gives NaN. Where a loss is not finite, its row's gradient is NaN throughout: so no such loss can pass by a
   * check of the gradient's norm. logits [N,V], targets i32 [N], losses f32 [N], gradScale f32 [1].
   */
  softmaxCrossEntropy(args: {
    logits: Tensor;
    targets: Tensor<"i32">;
    losses: Tensor;
    gradScale?: Tensor | null;
  }): void;
  /** norm[0] = sqrt(sum of squares of all elements); any shape, f32; summed in a fixed order. */
  gradNorm(args: { grad: Tensor; norm: Tensor }): void;
  /**
   * AdamW (Loshchilov and Hutter, arXiv 1711.05101) on f32 tensors of one shape, in place.
   * control f32 [4] = [learning rate, 1 - beta1^t, 1 - beta2^t, gradient factor]: on the device, so that a recorded
   * step can be replayed. The gradient is multiplied by the factor, then by min(1, maxNorm / (factor * norm[0])).
   * `computed` (shape of param, any float type that the device computes in) gets the new values, rounded to nearest
   * even; it may be param itself. A norm that is not finite leaves everything as it was, `computed` too.
   */
  adamw(args: {
    param: Tensor;
    computed?: Tensor | null;
    grad: Tensor;
    m: Tensor;
    v: Tensor;
    norm: Tensor;
    control: Tensor;
    maxNorm: number;
    beta1: number;
    beta2: number;
    epsilon: number;
    weightDecay: number;
  }): void;
}
