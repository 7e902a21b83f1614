import type { Ops } from "../device/ops.ts";
import type { FloatType, Tensor } from "../tensor.ts";
import type { Arena } from "./arena.ts";
import { headDimension, type ModelConfig } from "./config.ts";
import type { HeadRun } from "./headGroups.ts";
import { type Affine, projectionWidth } from "./parameters.ts";

/**
 * One transformer block, forward and backward, as a list of device ops:
 *
 *     x1 = x + out(attention(qkv(norm1(x))))
 *     x2 = x1 + down(gelu(up(norm2(x1))))
 *
 * Letters: B batch, T positions, N = B * T rows, C width, H heads, Hk key heads, D head dimension, O the projection's
 * width. The order of backward is the order of forward read from its end.
 */

/** Weights of a block, or the gradients of them; shapes in `parameterLayout`. */
export interface BlockParameters {
  readonly norm1: Affine;
  readonly qkv: Affine;
  readonly out: Affine;
  readonly norm2: Affine;
  readonly up: Affine;
  readonly down: Affine;
}

/** What a block's forward leaves for its backward. In a model that only infers, all blocks share one. */
export interface BlockActivations {
  /** [N,C]: `x1`. */
  readonly middle: Tensor;
  readonly norm1: NormActivations;
  readonly norm2: NormActivations;
  /** [N,O] */
  readonly qkv: Tensor;
  /** Views [B,T,H,D], [B,T,Hk,D] and [B,T,Hk,D] into `qkv`; with shared queries and keys, k has memory of its own. */
  readonly heads: Heads;
  /** [B,T,H,D] */
  readonly o: Tensor;
  /** f32 [B,H,T] */
  readonly lse: Tensor;
  /** [N,4C], before and after gelu. */
  readonly preGelu: Tensor;
  readonly gelu: Tensor;
}

export interface NormActivations {
  /** [N,C] */
  readonly out: Tensor;
  /** f32 [N] */
  readonly mean: Tensor;
  readonly rstd: Tensor;
}

export interface Heads {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Gradients that live within one block's backward; all blocks share one. */
export interface BlockScratch {
  /** [N,C] */
  readonly dNorm: Tensor;
  /** [N,O] */
  readonly dqkv: Tensor;
  /** Views like `BlockActivations.heads`. */
  readonly dHeads: Heads;
  /** [B,T,H,D] */
  readonly dout: Tensor;
  /** f32 [B,H,T] */
  readonly delta: Tensor;
  /** [N,4C] */
  readonly dUp: Tensor;
}

/** Sizes of one pass: B sequences of T tokens. */
export interface PassShape {
  readonly B: number;
  readonly T: number;
}

/** A block's parameters out of views by name. */
export function blockParameters(view: (name: string) => Tensor, config: ModelConfig, layer: number): BlockParameters {
  const affine = (name: string) => affineOf(view, `blocks.${layer}.${name}`, config);
  return {
    norm1: affine("norm1"),
    qkv: affine("qkv"),
    out: affine("out"),
    norm2: affine("norm2"),
    up: affine("up"),
    down: affine("down"),
  };
}

export function affineOf(view: (name: string) => Tensor, name: string, config: ModelConfig): Affine {
  return { weight: view(`${name}.weight`), bias: config.biases ? view(`${name}.bias`) : null };
}

export function allocateNorm(arena: Arena, rows: number, width: number, dtype: FloatType): NormActivations {
  return { out: arena.empty([rows, width], dtype), mean: arena.empty([rows]), rstd: arena.empty([rows]) };
}

/** @param middle where `x1` goes, if not into memory of its own: the residual stream itself in a model that only infers */
export function allocateBlock(
  arena: Arena,
  config: ModelConfig,
  { B, T }: PassShape,
  dtype: FloatType,
  middle?: Tensor,
): BlockActivations {
  const N = B * T;
  const { width: C, heads: H } = config;
  const qkv = arena.empty([N, projectionWidth(config)], dtype);
  return {
    middle: middle ?? arena.empty([N, C], dtype),
    norm1: allocateNorm(arena, N, C, dtype),
    norm2: allocateNorm(arena, N, C, dtype),
    qkv,
    heads: headViews(config, { B, T }, qkv, config.sharedQK ? arena.empty([N, C], dtype) : null),
    o: arena.empty([B, T, H, headDimension(config)], dtype),
    lse: arena.empty([B, H, T]),
    preGelu: arena.empty([N, 4 * C], dtype),
    gelu: arena.empty([N, 4 * C], dtype),
  };
}

export function allocateScratch(
  arena: Arena,
  config: ModelConfig,
  { B, T }: PassShape,
  dtype: FloatType,
): BlockScratch {
  const N = B * T;
  const { width: C, heads: H } = config;
  const dqkv = arena.empty([N, projectionWidth(config)], dtype);
  return {
    dNorm: arena.empty([N, C], dtype),
    dqkv,
    dHeads: headViews(config, { B, T }, dqkv, config.sharedQK ? arena.empty([N, C], dtype) : null),
    dout: arena.empty([B, T, H, headDimension(config)], dtype),
    delta: arena.empty([B, H, T]),
    dUp: arena.empty([N, 4 * C], dtype),
  };
}

/**
 * The heads within a projection's output.
 * @param qkv [N,O]
 * @param ownK [N,C]: the keys' own memory where they are the normalised queries, else null
 */
export function headViews(config: ModelConfig, { B, T }: PassShape, qkv: Tensor, ownK: Tensor | null): Heads {
  const { heads: H, kvHeads: Hk } = config;
  const D = headDimension(config);
  const O = projectionWidth(config);
  const part = (headCount: number, offset: number) =>
    qkv.view([B, T, headCount, D], { strides: [T * O, O, D, 1], offset });
  return {
    q: part(H, 0),
    k: ownK ? ownK.view([B, T, Hk, D]) : part(Hk, H * D),
    v: part(Hk, ownK ? H * D : (H + Hk) * D),
  };
}

/** Length below which a query is divided by this instead, where keys are normalised queries. */
const NORMALIZE_EPSILON = 1e-6;
const ROPE_BASE = 10000;

/** How a block's rows see each other. */
export interface BlockAttention {
  /** Puts queries and keys into the buckets that `attend` goes by. Keys that are made of queries may not be there yet. */
  hash(heads: Heads): void;
  /** Fills `activations.o` and `.lse` from `.heads`. */
  attend(activations: BlockActivations): void;
}

/**
 * The block's forward.
 * @param x [N,C] residual stream in
 * @param out [N,C] residual stream out; may be x if `activations.middle` is x too
 * @param turned the layer's, of `turnedHeads`
 */
export function blockForward(
  ops: Ops,
  config: ModelConfig,
  {
    x,
    out,
    weights,
    activations,
    turned,
    firstPosition = 0,
    attention,
  }: {
    x: Tensor;
    out: Tensor;
    weights: BlockParameters;
    activations: BlockActivations;
    turned: readonly HeadRun[];
    firstPosition?: number;
    attention: BlockAttention;
  },
): void {
  const { norm1, qkv, heads, o, middle, norm2, preGelu, gelu } = activations;
  const rows = [x.shape[0]!, config.width];

  normForward(ops, config, x, weights.norm1, norm1);
  ops.linear({ x: norm1.out, w: weights.qkv.weight, bias: weights.qkv.bias, out: qkv });
  // Turned by their positions, two rows that are alike seldom share a bucket once they stand far apart.
  const hashesContent = config.positions === "rope-scores";
  if (hashesContent) attention.hash(heads);
  turn(ops, config, heads, { turned, firstPosition });
  // After the turning, which keeps lengths, so that the keys are turned with their queries.
  if (config.sharedQK) ops.normalizeRows({ x: heads.q, epsilon: NORMALIZE_EPSILON, out: heads.k });
  if (!hashesContent) attention.hash(heads);
  attention.attend(activations);
  ops.linear({ x: o.view(rows), w: weights.out.weight, bias: weights.out.bias, residual: x, out: middle });

  normForward(ops, config, middle, weights.norm2, norm2);
  ops.linear({ x: norm2.out, w: weights.up.weight, bias: weights.up.bias, preGelu, out: gelu });
  ops.linear({ x: gelu, w: weights.down.weight, bias: weights.down.bias, residual: middle, out });
}

/**
 * The block's backward: adds into `gradients`, and turns `dx` from the gradient of the block's output into that of its
 * input.
 * @param x [N,C] what the forward had
 * @param dx [N,C]
 * @param turned the layer's, of `turnedHeads`
 * @param attendBackward fills `scratch.dHeads` from `scratch.dout` and the activations
 */
export function blockBackward(
  ops: Ops,
  config: ModelConfig,
  {
    x,
    dx,
    weights,
    gradients,
    activations,
    scratch,
    turned,
    attendBackward,
  }: {
    x: Tensor;
    dx: Tensor;
    weights: BlockParameters;
    gradients: BlockParameters;
    activations: BlockActivations;
    scratch: BlockScratch;
    turned: readonly HeadRun[];
    attendBackward: (activations: BlockActivations, scratch: BlockScratch) => void;
  },
): void {
  const { norm1, heads, o, middle, norm2, preGelu, gelu } = activations;
  const { dNorm, dqkv, dHeads, dout, dUp } = scratch;
  const rows = [x.shape[0]!, config.width];

  productGradients(ops, { x: gelu, dout: dx, gradients: gradients.down });
  ops.linearBackwardInput({ dout: dx, w: weights.down.weight, preGelu, dx: dUp });
  productGradients(ops, { x: norm2.out, dout: dUp, gradients: gradients.up });
  ops.linearBackwardInput({ dout: dUp, w: weights.up.weight, dx: dNorm });
  normBackward(ops, { x: middle, weights: weights.norm2, activations: norm2, dNorm, dx, gradients: gradients.norm2 });

  productGradients(ops, { x: o.view(rows), dout: dx, gradients: gradients.out });
  ops.linearBackwardInput({ dout: dx, w: weights.out.weight, dx: dout.view(rows) });
  attendBackward(activations, scratch);
  if (config.sharedQK) {
    ops.normalizeRowsBackward({ x: heads.q, epsilon: NORMALIZE_EPSILON, dout: dHeads.k, dx: dHeads.q });
  }
  turn(ops, config, dHeads, { turned, firstPosition: 0, inverse: true });
  productGradients(ops, { x: norm1.out, dout: dqkv, gradients: gradients.qkv });
  ops.linearBackwardInput({ dout: dqkv, w: weights.qkv.weight, dx: dNorm });
  normBackward(ops, { x, weights: weights.norm1, activations: norm1, dNorm, dx, gradients: gradients.norm1 });
}

/** Rotary embedding in place, or back; a shared query's key is made of it afterwards. */
function turn(
  ops: Ops,
  { sharedQK }: ModelConfig,
  { q, k }: Heads,
  { turned, ...places }: { turned: readonly HeadRun[]; firstPosition: number; inverse?: boolean },
): void {
  const inPlace = (x: Tensor) => ops.rope({ ...places, base: ROPE_BASE, x, out: x });
  for (const { firstHead, headCount, firstKeyHead, keyHeadCount } of turned) {
    inPlace(q.slice(2, firstHead, headCount));
    if (!sharedQK) inPlace(k.slice(2, firstKeyHead, keyHeadCount));
  }
}

export function normForward(
  ops: Ops,
  config: ModelConfig,
  x: Tensor,
  { weight, bias }: Affine,
  { out, mean, rstd }: NormActivations,
): void {
  ops.layerNorm({ x, weight, bias, epsilon: config.epsilon, out, mean, rstd });
}

/** Adds the gradient through a layer norm into `dx` and `gradients`. */
export function normBackward(
  ops: Ops,
  {
    x,
    weights,
    activations: { mean, rstd },
    dNorm,
    dx,
    gradients,
  }: {
    x: Tensor;
    weights: Affine;
    activations: NormActivations;
    dNorm: Tensor;
    dx: Tensor;
    gradients: Affine;
  },
): void {
  ops.layerNormBackward({
    x,
    weight: weights.weight,
    mean,
    rstd,
    dout: dNorm,
    dx,
    dWeight: gradients.weight,
    dBias: gradients.bias,
  });
}

function productGradients(ops: Ops, { x, dout, gradients }: { x: Tensor; dout: Tensor; gradients: Affine }): void {
  ops.linearBackwardWeight({ x, dout, dw: gradients.weight, dBias: gradients.bias });
}
