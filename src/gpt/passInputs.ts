import type { Tensor } from "../tensor.ts";
import type { Arena } from "./arena.ts";
import type { PassShape } from "./block.ts";
import type { ModelConfig } from "./config.ts";
import { type Draw, PassDraws } from "./draws.ts";

/** Sequences to learn from: `targets[b,t]` is the token that follows `tokens[b,t]`. Row-major [B,T]. */
export interface Batch {
  readonly tokens: Int32Array;
  /** -1 where nothing is to be predicted. */
  readonly targets: Int32Array;
}

/**
 * All that changes from one pass of a model to the next, in tensors of its own: between uploads to these, every pass is
 * the same list of launches. Letters: N = B * T rows.
 */
export class PassInputs {
  /** i32 [B,T] */
  readonly tokens: Tensor<"i32">;
  /** i32 [N] */
  readonly targets: Tensor<"i32">;
  /** i32 [B,T], where the model knows documents. */
  readonly documents: Tensor<"i32"> | null;
  /** f32 [1]: what the gradient of a token's loss is multiplied by. */
  readonly gradScale: Tensor;
  readonly draws: PassDraws;
  readonly #config: ModelConfig;
  readonly #shape: PassShape;

  constructor(arena: Arena, config: ModelConfig, shape: PassShape) {
    const { B, T } = shape;
    this.#config = config;
    this.#shape = shape;
    this.tokens = arena.zeros([B, T], "i32");
    this.targets = arena.zeros([B * T], "i32");
    this.documents = config.documentEnd === null ? null : arena.zeros([B, T], "i32");
    this.gradScale = arena.zeros([1]);
    this.draws = new PassDraws(arena, config);
  }

  /**
   * Uploads what the next pass reads.
   * @param scale what the gradient of the mean loss is multiplied by
   * @returns how many tokens have a target
   */
  stage({ tokens, targets }: Batch, { draw, scale }: { draw: Draw; scale: number }): number {
    const counted = targets.reduce((n, target) => n + (target === -1 ? 0 : 1), 0);
    this.tokens.write(tokens);
    this.targets.write(targets);
    this.documents?.write(documentIds(tokens, this.#shape, this.#config.documentEnd!));
    this.gradScale.write(Float32Array.of(scale / Math.max(1, counted)));
    this.draws.stage(draw);
    return counted;
  }
}

/** Mean of a pass's losses over the tokens that have a target. */
export function meanLoss(losses: Float32Array, counted: number): number {
  let sum = 0;
  for (const loss of losses) sum += loss;
  return sum / Math.max(1, counted);
}

/**
 * Numbers the documents of each sequence: the token after each `documentEnd` begins a new one.
 * @param tokens [B,T], row-major
 * @returns i32 [B,T]
 */
export function documentIds(tokens: Int32Array, { T }: PassShape, documentEnd: number): Int32Array {
  const ids = new Int32Array(tokens.length);
  for (let i = 0; i < tokens.length; i++) {
    if (i % T !== 0) ids[i] = ids[i - 1]! + (tokens[i - 1] === documentEnd ? 1 : 0);
  }
  return ids;
}
