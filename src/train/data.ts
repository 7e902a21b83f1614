import type { Batch } from "../gpt/passInputs.ts";

/** Tokens to learn from, as `Tokens` of the data room reads them from a file. */
export interface TokenSource {
  /** For errors: the file. */
  readonly name: string;
  /** Tokens are below this. */
  readonly vocabularySize: number;
  /**
   * Sequences at random places. Row r of step n is a function of (seed, n, r) alone, so that the step number is all that
   * a resumed run needs to know of its place in the data.
   */
  sample(options: { B: number; T: number; seed: number; step: number; firstRow?: number }): Promise<Batch>;
  /** How many sequences of T tokens stand one after another. */
  windows(T: number): number;
  /** Sequences one after another, B at a time; the last batch may be shorter. */
  sequential(options: { B: number; T: number; index: number }): Promise<Batch>;
}

/** What a run reads. */
export interface TrainingData {
  readonly train: TokenSource;
  readonly validation: TokenSource;
}

/** A batch with rows added up to B, in which nothing is to be predicted. */
export function padded({ tokens, targets }: Batch, { B, T }: { B: number; T: number }): Batch {
  if (tokens.length === B * T) return { tokens, targets };
  const result = { tokens: new Int32Array(B * T), targets: new Int32Array(B * T).fill(-1) };
  result.tokens.set(tokens);
  result.targets.set(targets);
  return result;
}
