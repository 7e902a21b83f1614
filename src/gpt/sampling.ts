import { PreparedAttention } from "../attention.ts";
import { ShapeError } from "../errors.ts";
import { uniformAt } from "../rng.ts";
import type { Tensor } from "../tensor.ts";
import { Arena } from "./arena.ts";
import {
  allocateBlock,
  allocateNorm,
  type BlockActivations,
  blockForward,
  type Heads,
  type NormActivations,
  normForward,
} from "./block.ts";
import { headDimension, type ModelConfig } from "./config.ts";
import { type Draw, PassDraws } from "./draws.ts";
import { type HeadRun, headGroups, turnedHeads } from "./headGroups.ts";
import { LayerData, type RowRange } from "./layerAttention.ts";
import { Head } from "./loss.ts";
import { attentionScale, embedTokens, type ModelTensors, modelTensors } from "./model.ts";
import type { ModelParameters } from "./parameters.ts";

/** How to pick the next token. */
export interface SamplingOptions {
  /** Scores are divided by this; 0 always takes the likeliest. Default 1. */
  readonly temperature?: number;
  /** Only this many of the likeliest tokens are candidates. Default Infinity. */
  readonly topK?: number;
  /** Tokens from this one on are never picked: the tokenizer's size where the table has rows to spare. */
  readonly tokenLimit?: number;
}

export interface GenerateOptions extends SamplingOptions {
  /** How many tokens to make. */
  readonly count: number;
  /** Unsigned 32-bit; the same seed gives the same text on one device. Default 1. */
  readonly seed?: number;
}

/** Rows computed at once while reading a prompt; bounds the activations' memory. */
const ROWS_AT_ONCE = 256;

/**
 * Continues a prompt, one token at a time. When the context is full, the latter half of it is read anew and generation
 * goes on from there.
 * @param prompt at least one token; of a longer one than the context only the end is read
 * @throws ShapeError if the prompt is empty or an option is out of range
 */
export async function* generate(
  parameters: ModelParameters,
  prompt: ArrayLike<number>,
  { count, seed = 1, ...options }: GenerateOptions,
): AsyncGenerator<number, void, undefined> {
  const { context } = parameters.config;
  const decoder = new Decoder(parameters, { draw: { seed, index: 0 } });
  try {
    let history = Array.from(prompt).slice(-context);
    let logits = await decoder.push(history);
    for (let n = 0; n < count; n++) {
      const token = sampleToken(logits, options, uniformAt(seed, 0, n));
      yield token;
      if (n + 1 === count) return;
      history.push(token);
      if (decoder.length < context) logits = await decoder.push([token]);
      else {
        history = history.slice(-Math.max(1, context >> 1));
        decoder.reset();
        logits = await decoder.push(history);
      }
    }
  } finally {
    decoder.dispose();
  }
}

/**
 * Picks a token.
 * @param logits [V]
 * @param uniform a number from 0 to 1 that decides
 * @throws ShapeError if an option is out of range or no logit is finite
 */
export function sampleToken(
  logits: Float32Array,
  { temperature = 1, topK = Number.POSITIVE_INFINITY, tokenLimit = logits.length }: SamplingOptions,
  uniform: number,
): number {
  if (!(temperature >= 0)) throw new ShapeError("sample", "the temperature is 0 or more", `${temperature}`);
  if (!(topK >= 1)) throw new ShapeError("sample", "topK is at least 1", `${topK}`);
  const candidates = Array.from({ length: Math.min(tokenLimit, logits.length) }, (_, token) => token)
    .filter((token) => Number.isFinite(logits[token]))
    .sort((a, b) => logits[b]! - logits[a]! || a - b)
    .slice(0, temperature === 0 ? 1 : topK);
  if (candidates.length === 0) throw new ShapeError("sample", "some token has a finite score", "none");
  const largest = logits[candidates[0]!]!;
  const weights = candidates.map((token) => Math.exp((logits[token]! - largest) / (temperature || 1)));
  let rest = uniform * weights.reduce((sum, weight) => sum + weight, 0);
  for (const [n, weight] of weights.entries()) {
    rest -= weight;
    if (rest < 0) return candidates[n]!;
  }
  return candidates.at(-1)!;
}

/**
 * A model reading one sequence as it grows, with the keys and values of earlier rows kept. A growing sequence sees
 * through any pattern just what the whole one would: queries are aligned with the end of the keys, buckets are kept
 * beside the keys with the moments that balanced ones go by, and keep masks are drawn for the whole context at once.
 */
export class Decoder {
  readonly #parameters: ModelParameters;
  readonly #config: ModelConfig;
  readonly #weights: ModelTensors;
  readonly #arena: Arena;
  readonly #rowsAtOnce: number;
  readonly #tokens: Tensor<"i32">;
  readonly #documents: Tensor<"i32"> | null;
  /** [rows, C] */
  readonly #stream: Tensor;
  readonly #activations: BlockActivations;
  readonly #norm: NormActivations;
  /** [1, context, Hk, D] of each layer */
  readonly #cache: readonly { readonly k: Tensor; readonly v: Tensor }[];
  readonly #layers: readonly LayerData[];
  readonly #turned: readonly (readonly HeadRun[])[];
  readonly #head: Head;
  #length = 0;
  #document = 0;

  /** @param draw what rotations and dropped rows are drawn from */
  constructor(parameters: ModelParameters, { draw }: { draw: Draw }) {
    const { device, config, dtype } = parameters;
    const { context, width: C, kvHeads: Hk } = config;
    const arena = new Arena(device);
    const rows = Math.min(ROWS_AT_ONCE, context);
    this.#parameters = parameters;
    this.#config = config;
    this.#weights = modelTensors(parameters.views(parameters.computed), config);
    this.#arena = arena;
    this.#rowsAtOnce = rows;
    this.#tokens = arena.zeros([1, rows], "i32");
    this.#documents = config.documentEnd === null ? null : arena.zeros([1, context], "i32");
    this.#stream = arena.empty([rows, C], dtype);
    this.#activations = allocateBlock(arena, config, { B: 1, T: rows }, dtype, this.#stream);
    this.#norm = allocateNorm(arena, rows, C, dtype);
    const draws = new PassDraws(arena, config);
    const layers = headGroups(config);
    const cache = () => arena.empty([1, context, Hk, headDimension(config)], dtype);
    this.#cache = layers.map(() => ({ k: cache(), v: cache() }));
    this.#layers = layers.map((groups, layer) => {
      const shape = { B: 1, T: context };
      return new LayerData(arena, { groups, draws: draws.groups[layer]!, shape, documents: this.#documents });
    });
    this.#turned = turnedHeads(config);
    draws.stage(draw);
    for (const layer of this.#layers) layer.drop();
    this.#head = new Head(arena, { rows: 1, vocabulary: config.vocabulary, dtype, logitsBytes: 0 });
  }

  /** Tokens read so far. */
  get length(): number {
    return this.#length;
  }

  /** Forgets what was read. */
  reset(): void {
    this.#length = 0;
    this.#document = 0;
  }

  /**
   * Reads the next tokens.
   * @returns logits [V] for the token after the last one
   * @throws ShapeError if there are none, or more than the context has room for
   */
  async push(tokens: ArrayLike<number>): Promise<Float32Array> {
    const room = this.#config.context - this.#length;
    if (tokens.length < 1 || tokens.length > room) {
      throw new ShapeError("sample", `there are 1 to ${room} tokens to read`, `${tokens.length}`);
    }
    const all = Int32Array.from(tokens);
    let last = 0;
    for (let start = 0; start < all.length; start += this.#rowsAtOnce) {
      const some = all.subarray(start, start + this.#rowsAtOnce);
      this.#pass(some);
      last = some.length - 1;
    }
    return (await this.#head.logits(this.#norm.out.slice(0, last, 1), this.#weights.tokens).read()) as Float32Array;
  }

  /** Fills the first rows of the final norm's output. */
  #pass(tokens: Int32Array): void {
    const { ops } = this.#parameters.device;
    const n = tokens.length;
    const rows = { first: this.#length, end: this.#length + n };
    const input = this.#tokens.slice(1, 0, n);
    input.write(tokens);
    this.#documents?.slice(1, rows.first, n).write(this.#number(tokens));
    const x = this.#stream.slice(0, 0, n);
    const activations = firstRows(this.#activations, n);
    embedTokens(ops, this.#weights, { tokens: input, firstPosition: rows.first, out: x });
    for (const [layer, weights] of this.#weights.blocks.entries()) {
      const attention = {
        hash: (heads: Heads) => this.#layers[layer]!.hash(heads, rows),
        attend: () => this.#attend(layer, activations, rows),
      };
      const turned = this.#turned[layer]!;
      const firstPosition = rows.first;
      blockForward(ops, this.#config, { x, out: x, weights, activations, turned, firstPosition, attention });
    }
    normForward(ops, this.#config, x, this.#weights.norm, normRows(this.#norm, n));
    this.#length = rows.end;
  }

  #attend(layer: number, { heads, o, lse }: BlockActivations, rows: RowRange): void {
    const { device } = this.#parameters;
    const cache = this.#cache[layer]!;
    const n = rows.end - rows.first;
    device.ops.copy({ x: heads.k, out: cache.k.slice(1, rows.first, n) });
    device.ops.copy({ x: heads.v, out: cache.v.slice(1, rows.first, n) });
    const { heads: H, kvHeads: Hk } = this.#config;
    const plan = new PreparedAttention(device, {
      shape: { B: 1, Tq: n, Tk: rows.end, H, Hk },
      pattern: this.#layers[layer]!.pattern(rows),
      scale: attentionScale(this.#config),
    });
    plan.forward({ q: heads.q, k: cache.k.slice(1, 0, rows.end), v: cache.v.slice(1, 0, rows.end), o, lse });
    plan.dispose();
  }

  /** Document numbers of the next tokens. */
  #number(tokens: Int32Array): Int32Array {
    return tokens.map((token) => {
      const id = this.#document;
      if (token === this.#config.documentEnd) this.#document++;
      return id;
    });
  }

  dispose(): void {
    this.#arena.dispose();
  }
}

/** The activations of the first n rows of one sequence. */
function firstRows(activations: BlockActivations, n: number): BlockActivations {
  const { middle, norm1, norm2, qkv, heads, o, lse, preGelu, gelu } = activations;
  const rows = (tensor: Tensor) => tensor.slice(0, 0, n);
  const sequence = (tensor: Tensor) => tensor.slice(1, 0, n);
  return {
    middle: rows(middle),
    norm1: normRows(norm1, n),
    norm2: normRows(norm2, n),
    qkv: rows(qkv),
    heads: { q: sequence(heads.q), k: sequence(heads.k), v: sequence(heads.v) },
    o: sequence(o),
    lse: lse.slice(2, 0, n),
    preGelu: rows(preGelu),
    gelu: rows(gelu),
  };
}

function normRows({ out, mean, rstd }: NormActivations, n: number): NormActivations {
  return { out: out.slice(0, 0, n), mean: mean.slice(0, 0, n), rstd: rstd.slice(0, 0, n) };
}
