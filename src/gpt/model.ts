import { PreparedAttention } from "../attention.ts";
import type { Device, Recording } from "../device/device.ts";
import type { Ops } from "../device/ops.ts";
import { ShapeError, UnsupportedError } from "../errors.ts";
import { causalPairs, type Plan, plan } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import { Arena } from "./arena.ts";
import { type AttentionWeights, readAttentionWeights } from "./attentionWeights.ts";
import {
  affineOf,
  allocateBlock,
  allocateNorm,
  allocateScratch,
  type BlockActivations,
  type BlockParameters,
  type BlockScratch,
  blockBackward,
  blockForward,
  blockParameters,
  type NormActivations,
  normBackward,
  normForward,
} from "./block.ts";
import { headDimension, type ModelConfig } from "./config.ts";
import type { Draw } from "./draws.ts";
import { type HeadRun, headGroups, turnedHeads } from "./headGroups.ts";
import { LayerData } from "./layerAttention.ts";
import { Head } from "./loss.ts";
import type { Affine, ModelParameters } from "./parameters.ts";
import { type Batch, meanLoss, PassInputs } from "./passInputs.ts";

/** A model's weights, or the gradients of them, as views; shapes in `parameterLayout`. */
export interface ModelTensors {
  readonly tokens: Tensor;
  readonly positions: Tensor | null;
  readonly blocks: readonly BlockParameters[];
  readonly norm: Affine;
}

export interface GptOptions {
  /** B: sequences of each pass. */
  readonly batch: number;
  /** T: tokens of each sequence; at most, and by default, the model's context. */
  readonly context?: number;
  /** Whether gradients will be wanted; without, all blocks share their activations. Default true. */
  readonly training?: boolean;
  /** How large the buffer of logits may be; the device's `chunkBytes` if left out. */
  readonly logitsBytes?: number;
}

/** All of a model's tensors out of views by name. */
export function modelTensors(view: (name: string) => Tensor, config: ModelConfig): ModelTensors {
  return {
    tokens: view("tokens"),
    positions: config.positions === "learned" ? view("positions") : null,
    blocks: Array.from({ length: config.layers }, (_, layer) => blockParameters(view, config, layer)),
    norm: affineOf(view, "norm", config),
  };
}

/**
 * A GPT for batches of one shape [B,T]: loss, and gradients by explicit backward. All device memory is allocated here,
 * so that a pass is a few uploads and a fixed list of launches; that of a training pass is recorded.
 *
 * Letters: N = B * T rows, C width, V vocabulary.
 */
export class Gpt {
  readonly device: Device;
  readonly config: ModelConfig;
  readonly B: number;
  readonly T: number;
  readonly #arena: Arena;
  readonly #weights: ModelTensors;
  readonly #inputs: PassInputs;
  /** f32 [N]: the last batch's loss of each token, in nats. */
  readonly losses: Tensor;
  /** The residual stream [N,C] before each block and after the last; one tensor throughout if not training. */
  readonly #stream: readonly Tensor[];
  readonly #activations: readonly BlockActivations[];
  readonly #norm: NormActivations;
  readonly #layers: readonly LayerData[];
  readonly #turned: readonly (readonly HeadRun[])[];
  readonly #plans: readonly PreparedAttention[];
  readonly #head: Head;
  readonly #backward: { readonly scratch: BlockScratch; readonly dx: Tensor } | null;
  /** The launches of a training pass, and the gradients that they add into. */
  #trainingPass: { readonly gradients: ModelTensors; readonly recording: Recording } | null = null;

  /** @throws ShapeError if T exceeds the model's context */
  constructor(
    readonly parameters: ModelParameters,
    { batch: B, context, training = true, logitsBytes }: GptOptions,
  ) {
    const { device, config, dtype } = parameters;
    const T = context ?? config.context;
    if (T > config.context || T < 1) {
      throw new ShapeError("gpt", `sequences have 1 to ${config.context} tokens, the model's context`, `T=${T}`);
    }
    this.device = device;
    this.config = config;
    this.B = B;
    this.T = T;
    const N = B * T;
    const C = config.width;
    const shape = { B, T };
    const arena = new Arena(device);
    this.#arena = arena;
    this.#weights = modelTensors(parameters.views(parameters.computed), config);
    this.#inputs = new PassInputs(arena, config, shape);
    this.losses = arena.empty([N]);

    const first = arena.empty([N, C], dtype);
    const each = <R>(make: (layer: number) => R) => Array.from({ length: config.layers }, (_, layer) => make(layer));
    if (training) {
      this.#stream = [first, ...each(() => arena.empty([N, C], dtype))];
      this.#activations = each(() => allocateBlock(arena, config, shape, dtype));
      this.#backward = { scratch: allocateScratch(arena, config, shape, dtype), dx: arena.empty([N, C], dtype) };
    } else {
      const shared = allocateBlock(arena, config, shape, dtype, first);
      this.#stream = [first, ...each(() => first)];
      this.#activations = each(() => shared);
      this.#backward = null;
    }
    this.#norm = allocateNorm(arena, N, C, dtype);
    const { draws, documents } = this.#inputs;
    this.#layers = headGroups(config).map(
      (groups, layer) => new LayerData(arena, { groups, draws: draws.groups[layer]!, shape, documents }),
    );
    this.#turned = turnedHeads(config);
    const attentionShape = { B, Tq: T, Tk: T, H: config.heads, Hk: config.kvHeads };
    this.#plans = this.#layers.map((layer) => {
      const pattern = layer.pattern({ first: 0, end: T });
      return new PreparedAttention(device, { shape: attentionShape, pattern, scale: attentionScale(config) });
    });
    this.#head = new Head(arena, { rows: N, vocabulary: config.vocabulary, dtype, logitsBytes });
  }

  /**
   * Mean loss of a batch in nats a token, without gradients.
   * @param draw what rotations and dropped rows are drawn from
   */
  async evaluate(batch: Batch, { draw }: { draw: Draw }): Promise<number> {
    const counted = this.#inputs.stage(batch, { draw, scale: 0 });
    this.#forward();
    this.#head.loss({
      hidden: this.#norm.out,
      table: this.#weights.tokens,
      targets: this.#inputs.targets,
      losses: this.losses,
    });
    return meanLoss(await this.losses.read(), counted);
  }

  /**
   * Mean loss of a batch, and `scale` times its gradient added into `gradients`; waits for the device.
   * @param gradients what `gradientTensors` made; all zero before the first of several batches
   * @param scale 1 over the number of batches that add up, times the loss scale
   */
  async accumulate(batch: Batch, pass: { draw: Draw; gradients: ModelTensors; scale: number }): Promise<number> {
    const counted = this.enqueue(batch, pass);
    return meanLoss(await this.losses.read(), counted);
  }

  /**
   * As `accumulate`, but returns at once: `losses` has the loss of each token when the work enqueued so far has run.
   * Where a loss is not finite, neither is the gradient.
   * @param gradients the same object each time: another one is recorded anew
   * @returns how many tokens have a target; the mean loss is over these
   */
  enqueue(batch: Batch, { draw, gradients, scale }: { draw: Draw; gradients: ModelTensors; scale: number }): number {
    if (!this.#backward) throw new ShapeError("gpt", "gradients need a model made for training", "training: false");
    if (this.#trainingPass?.gradients !== gradients) {
      this.#trainingPass?.recording.dispose();
      this.#trainingPass = { gradients, recording: this.device.record(() => this.#forwardAndBackward(gradients)) };
    }
    const counted = this.#inputs.stage(batch, { draw, scale });
    this.#trainingPass.recording.replay();
    return counted;
  }

  /**
   * Logits of some rows of the last pass: what it predicts to follow them.
   * @param first row of the N rows: b * T + t
   * @returns [count,V], row-major
   */
  async logits({ first, count }: { first: number; count: number }): Promise<Float32Array> {
    const V = this.config.vocabulary;
    const all = new Float32Array(count * V);
    for (let done = 0; done < count; done += this.#head.rowsAtOnce) {
      const hidden = this.#norm.out.slice(0, first + done, Math.min(this.#head.rowsAtOnce, count - done));
      all.set(await this.#head.logits(hidden, this.#weights.tokens).read(), done * V);
    }
    return all;
  }

  /** Computes ahead what a pass with this draw uploads; for the host to do while the device is busy. */
  prepare(draw: Draw): void {
    this.#inputs.draws.prepare(draw);
  }

  /** Pairs that the last pass attended to, over all causal ones; the mean over layers, heads and batch. 1 is dense. */
  async visibleShare(): Promise<number> {
    const { B, T, config } = this;
    let pairs = 0;
    for (const plan of this.#plans) pairs += await plan.visiblePairs();
    return pairs / (causalPairs({ Tq: T, Tk: T }) * B * config.heads * config.layers);
  }

  /** What each head of a layer saw in the last pass, as plain data; waits for the device. */
  plan(layer: number): Promise<Plan> {
    const { B, T, config } = this;
    const shape = { B, Tq: T, Tk: T, H: config.heads, Hk: config.kvHeads };
    return plan(this.#layers[layer]!.pattern({ first: 0, end: T }), shape, { verify: false });
  }

  /**
   * How the queries of the last pass shared their attention among the keys, for pictures; waits for the device.
   * @param b which sequence of the batch
   * @throws UnsupportedError if the model was not made for training: then a layer's queries and keys do not outlive it
   */
  attentionWeights(layer: number, { b = 0 }: { b?: number } = {}): Promise<AttentionWeights> {
    if (!this.#backward) {
      const fix = "Leave `training: false` out.";
      throw new UnsupportedError("attentionWeights", "the model must keep its activations", "training: false", fix);
    }
    const { heads, lse } = this.#activations[layer]!;
    const scale = attentionScale(this.config);
    return readAttentionWeights({ q: heads.q, k: heads.k, lse, plan: () => this.plan(layer), scale, b });
  }

  /** Views of a flat gradient tensor, for `accumulate`. */
  gradientTensors(flat: Tensor): ModelTensors {
    return modelTensors(this.parameters.views(flat), this.config);
  }

  #forward(): void {
    const { ops } = this.device;
    embedTokens(ops, this.#weights, { tokens: this.#inputs.tokens, firstPosition: 0, out: this.#stream[0]! });
    for (const [layer, weights] of this.#weights.blocks.entries()) {
      const data = this.#layers[layer]!;
      data.drop();
      blockForward(ops, this.config, {
        x: this.#stream[layer]!,
        out: this.#stream[layer + 1]!,
        weights,
        activations: this.#activations[layer]!,
        turned: this.#turned[layer]!,
        attention: {
          hash: (heads) => data.hash(heads, { first: 0, end: this.T }),
          attend: ({ heads, o, lse }) => {
            this.#plans[layer]!.build();
            this.#plans[layer]!.forward({ ...heads, o, lse });
          },
        },
      });
    }
    normForward(ops, this.config, this.#stream[this.config.layers]!, this.#weights.norm, this.#norm);
  }

  /** The launches of a training pass; see `Device.record`. */
  #forwardAndBackward(gradients: ModelTensors): void {
    const { dx, scratch } = this.#backward!;
    const { ops } = this.device;
    const { tokens, targets, gradScale } = this.#inputs;
    this.#forward();
    this.#head.loss({
      hidden: this.#norm.out,
      table: this.#weights.tokens,
      targets,
      losses: this.losses,
      backward: { gradScale, dHidden: scratch.dNorm, dTable: gradients.tokens },
    });
    ops.fill({ out: dx, value: 0 });
    normBackward(ops, {
      x: this.#stream[this.config.layers]!,
      weights: this.#weights.norm,
      activations: this.#norm,
      dNorm: scratch.dNorm,
      dx,
      gradients: gradients.norm,
    });
    for (let layer = this.config.layers - 1; layer >= 0; layer--) this.#blockBackward(layer, gradients.blocks[layer]!);
    ops.embedBackward({
      tokens,
      dout: dx.view([this.B, this.T, this.config.width]),
      dTokenTable: gradients.tokens,
      dPositionTable: gradients.positions,
    });
  }

  #blockBackward(layer: number, gradients: BlockParameters): void {
    const { dx, scratch } = this.#backward!;
    blockBackward(this.device.ops, this.config, {
      x: this.#stream[layer]!,
      dx,
      weights: this.#weights.blocks[layer]!,
      gradients,
      activations: this.#activations[layer]!,
      scratch,
      turned: this.#turned[layer]!,
      attendBackward: ({ heads, o, lse }, { dHeads, dout, delta }) => {
        this.#plans[layer]!.backward({
          ...heads,
          o,
          lse,
          dout,
          delta,
          dq: dHeads.q,
          dk: dHeads.k,
          dv: dHeads.v,
        });
      },
    });
  }

  /** Gives everything back but the parameters. */
  dispose(): void {
    this.#trainingPass?.recording.dispose();
    for (const plan of this.#plans) plan.dispose();
    this.#arena.dispose();
  }
}

/** 1 / sqrt(D) */
export function attentionScale(config: ModelConfig): number {
  return 1 / Math.sqrt(headDimension(config));
}

/** The first residual stream. @param out [N,C] @param tokens i32 [B,T] */
export function embedTokens(
  ops: Ops,
  weights: ModelTensors,
  { tokens, firstPosition, out }: { tokens: Tensor<"i32">; firstPosition: number; out: Tensor },
): void {
  const [B, T] = tokens.shape as [number, number];
  ops.embed({
    tokens,
    tokenTable: weights.tokens,
    positionTable: weights.positions,
    firstPosition,
    out: out.view([B, T, out.shape[1]!]),
  });
}
