import { PreparedAttention } from "../attention.ts";
import type { Device } from "../device/device.ts";
import type { Ops } from "../device/ops.ts";
import { ShapeError } from "../errors.ts";
import { causalPairs, type Plan, plan } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import { Arena } from "./arena.ts";
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
import { headDimension, layerAttentions, type ModelConfig } from "./config.ts";
import { type Draw, documentIds, LayerData } from "./layerAttention.ts";
import { Head } from "./loss.ts";
import type { Affine, ModelParameters } from "./parameters.ts";

/** A model's weights, or the gradients of them, as views; shapes in `parameterLayout`. */
export interface ModelTensors {
  readonly tokens: Tensor;
  readonly positions: Tensor | null;
  readonly blocks: readonly BlockParameters[];
  readonly norm: Affine;
}

/** Sequences to learn from: `targets[b,t]` is the token that follows `tokens[b,t]`. Row-major [B,T]. */
export interface Batch {
  readonly tokens: Int32Array;
  /** -1 where nothing is to be predicted. */
  readonly targets: Int32Array;
}

export interface GptOptions {
  /** B: sequences of each pass. */
  readonly batch: number;
  /** T: tokens of each sequence; at most, and by default, the model's context. */
  readonly context?: number;
  /** Whether gradients will be wanted; without, all blocks share their activations. Default true. */
  readonly training?: boolean;
  /** How large the buffer of logits may be. */
  readonly logitsBytes?: number;
}

const DEFAULT_LOGITS_BYTES = 1 << 27;

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
 * so that a pass is a fixed list of launches.
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
  /** i32 [B,T] */
  readonly #tokens: Tensor<"i32">;
  /** i32 [N] */
  readonly #targets: Tensor<"i32">;
  /** i32 [B,T], where the model knows documents. */
  readonly #documents: Tensor<"i32"> | null;
  /** f32 [N]: the last batch's loss of each token, in nats. */
  readonly losses: Tensor;
  /** The residual stream [N,C] before each block and after the last; one tensor throughout if not training. */
  readonly #stream: readonly Tensor[];
  readonly #activations: readonly BlockActivations[];
  readonly #norm: NormActivations;
  readonly #layers: readonly LayerData[];
  readonly #plans: readonly PreparedAttention[];
  readonly #head: Head;
  readonly #backward: { readonly scratch: BlockScratch; readonly dx: Tensor } | null;
  #countedTargets = 0;

  /** @throws ShapeError if T exceeds the model's context */
  constructor(
    readonly parameters: ModelParameters,
    { batch: B, context, training = true, logitsBytes = DEFAULT_LOGITS_BYTES }: GptOptions,
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
    this.#tokens = arena.zeros([B, T], "i32");
    this.#targets = arena.zeros([N], "i32");
    this.#documents = config.documentEnd === null ? null : arena.zeros([B, T], "i32");
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
    const attentions = layerAttentions(config);
    this.#layers = each(
      (layer) =>
        new LayerData(arena, config, { layer, attention: attentions[layer]!, shape, documents: this.#documents }),
    );
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
    this.#forward(batch, draw);
    this.#head.loss({
      hidden: this.#norm.out,
      table: this.#weights.tokens,
      targets: this.#targets,
      losses: this.losses,
    });
    return this.#meanLoss();
  }

  /**
   * Mean loss of a batch, and `scale` times its gradient added into `gradients`.
   * @param gradients what `gradientTensors` made; all zero before the first of several batches
   * @param scale 1 over the number of batches that add up, times the loss scale
   */
  async accumulate(
    batch: Batch,
    { draw, gradients, scale }: { draw: Draw; gradients: ModelTensors; scale: number },
  ): Promise<number> {
    if (!this.#backward) throw new ShapeError("gpt", "gradients need a model made for training", "training: false");
    const { dx, scratch } = this.#backward;
    const { ops } = this.device;
    this.#forward(batch, draw);
    this.#head.loss({
      hidden: this.#norm.out,
      table: this.#weights.tokens,
      targets: this.#targets,
      losses: this.losses,
      backward: {
        gradScale: scale / Math.max(1, this.#countedTargets),
        dHidden: scratch.dNorm,
        dTable: gradients.tokens,
      },
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
      tokens: this.#tokens,
      dout: dx.view([this.B, this.T, this.config.width]),
      dTokenTable: gradients.tokens,
      dPositionTable: gradients.positions,
    });
    for (const layer of this.#layers) layer.prepare({ ...draw, index: draw.index + 1 });
    return this.#meanLoss();
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

  /** Views of a flat gradient tensor, for `accumulate`. */
  gradientTensors(flat: Tensor): ModelTensors {
    return modelTensors(this.parameters.views(flat), this.config);
  }

  #forward(batch: Batch, draw: Draw): void {
    this.#upload(batch);
    const { ops } = this.device;
    embedTokens(ops, this.#weights, { tokens: this.#tokens, firstPosition: 0, out: this.#stream[0]! });
    for (const [layer, weights] of this.#weights.blocks.entries()) {
      this.#layers[layer]!.redraw(draw);
      blockForward(ops, this.config, {
        x: this.#stream[layer]!,
        out: this.#stream[layer + 1]!,
        weights,
        activations: this.#activations[layer]!,
        attend: ({ heads, o, lse }) => {
          this.#layers[layer]!.hash(heads, { first: 0, end: this.T });
          this.#plans[layer]!.build();
          this.#plans[layer]!.forward({ ...heads, o, lse });
        },
      });
    }
    normForward(ops, this.config, this.#stream[this.config.layers]!, this.#weights.norm, this.#norm);
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

  #upload({ tokens, targets }: Batch): void {
    this.#tokens.write(tokens);
    this.#targets.write(targets);
    this.#documents?.write(documentIds(tokens, { B: this.B, T: this.T }, this.config.documentEnd!));
    this.#countedTargets = targets.reduce((n, target) => n + (target === -1 ? 0 : 1), 0);
  }

  async #meanLoss(): Promise<number> {
    const losses = await this.losses.read();
    let sum = 0;
    for (const loss of losses) sum += loss;
    return sum / Math.max(1, this.#countedTargets);
  }

  /** Gives everything back but the parameters. */
  dispose(): void {
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
