import type { Batch } from "../gpt/passInputs.ts";
import { uniformAt } from "../rng.ts";

/** Sizes of a batch of sequences. */
export interface BatchSize {
  /** Sequences. */
  readonly batch: number;
  /** Tokens of each. */
  readonly context: number;
}

/**
 * Batch number `index` of an endless text whose tokens are drawn evenly from the vocabulary, as those of the PyTorch
 * models that it is compared with (bench/peers/train_torch.py). No text to learn, but no two batches are alike.
 * @returns [batch, context], row-major; each target is the next token
 */
export function drawBatch(index: number, { batch, context, vocabulary }: BatchSize & { vocabulary: number }): Batch {
  const length = batch * context;
  const token = (at: number) => Math.floor(uniformAt(1, 0, at) * vocabulary);
  const drawn = Int32Array.from({ length: length + 1 }, (_, n) => token(index * length + n));
  return { tokens: drawn.slice(0, length), targets: drawn.subarray(1) };
}

/**
 * Batch number `index` of a text, which begins anew where it ends.
 * @param text at least batch * context + 1 tokens
 */
export function readBatch(index: number, { batch, context, text }: BatchSize & { text: ArrayLike<number> }): Batch {
  const length = batch * context;
  const first = (index * length) % (text.length - length);
  const at = (shift: number) => Int32Array.from({ length }, (_, n) => text[first + shift + n]!);
  return { tokens: at(0), targets: at(1) };
}
