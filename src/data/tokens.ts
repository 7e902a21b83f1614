import { DataError, ShapeError } from "../errors.ts";
import type { ByteSource } from "../files/source.ts";
import { threefry2x32 } from "../rng.ts";
import type { TokenizerName } from "./tokenizers.ts";

/** Sequences for one step; row b of `targets` is row b of `tokens` moved on by one. */
export interface Batch {
  /** [B, T] */
  tokens: Int32Array<ArrayBuffer>;
  /** [B, T] */
  targets: Int32Array<ArrayBuffer>;
  B: number;
  T: number;
  /** Where each row starts, in tokens from the start of the file. */
  starts: number[];
}

/** Second key word of the stream of random starts; spelled to stay clear of small numbers. */
const startsStream = 0x62617463;

/** A file of raw little-endian uint16 tokens. Only what a call asks for is read, so memory does not grow with the file. */
export class Tokens {
  readonly #source: ByteSource & { close?: () => Promise<void> };
  readonly tokenizer: TokenizerName;
  /** Every token read is checked to be below it. */
  readonly vocabularySize: number;
  /** Number of tokens. */
  readonly count: number;

  /** @throws DataError if the file's length is odd */
  constructor(
    source: ByteSource & { close?: () => Promise<void> },
    { tokenizer, vocabularySize }: { tokenizer: TokenizerName; vocabularySize: number },
  ) {
    if (source.size % 2 !== 0) {
      const detail = `tokens are 2 bytes each, but the file has an odd number of bytes (${source.size})`;
      throw new DataError(source.name, "length", detail, "It is cut short or no token file; prepare the data again.");
    }
    this.#source = source;
    this.tokenizer = tokenizer;
    this.vocabularySize = vocabularySize;
    this.count = source.size / 2;
  }

  get name(): string {
    return this.#source.name;
  }

  /**
   * `count` tokens from token `start`.
   * @throws DataError if they lie outside the file or one is not in the vocabulary
   */
  async read(start: number, count: number): Promise<Uint16Array<ArrayBuffer>> {
    const { buffer } = await this.#source.read(start * 2, count * 2);
    const tokens = new Uint16Array(buffer);
    for (let i = 0; i < count; i++) {
      if (tokens[i]! >= this.vocabularySize) {
        const place = `token ${start + i} (byte ${2 * (start + i)})`;
        const detail = `tokens of "${this.tokenizer}" are below ${this.vocabularySize}, but this is ${tokens[i]}`;
        throw new DataError(this.name, place, detail, "The file is damaged or made with another tokenizer.");
      }
    }
    return tokens;
  }

  /**
   * The sequences of one training step, at random places. Row r of step n is a function of (seed, n, r) alone, so a run
   * that resumes at step n sees what it would have seen, whatever came before.
   * @param firstRow the row of the step that comes first here; lets a step be read in several parts
   * @throws DataError if the file holds fewer than T + 1 tokens or a token outside the vocabulary
   */
  async sample(options: { B: number; T: number; seed: number; step: number; firstRow?: number }): Promise<Batch> {
    const { B, T, seed, step, firstRow = 0 } = options;
    checkCounts("sample", { B, T });
    checkWords("sample", { seed, step, row: firstRow + B - 1 });
    this.checkLength(T);
    const starts = Array.from({ length: B }, (_, b) => {
      const [high, low] = threefry2x32([seed, startsStream], [step, firstRow + b]);
      return Math.floor(((high! * 2 ** 21 + (low! >>> 11)) / 2 ** 53) * (this.count - T));
    });
    return this.#batch(starts, T);
  }

  /** How many sequences of T tokens stand one after another in the file, each with its targets. */
  windows(T: number): number {
    checkCounts("windows", { T });
    return Math.max(0, Math.floor((this.count - 1) / T));
  }

  /**
   * Sequences one after another without overlap, for validation: rows index * B .. index * B + B - 1 of `windows(T)`. The
   * last batch has fewer rows (its own B says how many).
   * @throws DataError if the file holds fewer than T + 1 tokens or a token outside the vocabulary
   * @throws ShapeError if there is no batch of this index
   */
  async sequential({ B, T, index }: { B: number; T: number; index: number }): Promise<Batch> {
    checkCounts("sequential", { B, T });
    this.checkLength(T);
    const rows = Math.min(B, this.windows(T) - index * B);
    if (!Number.isInteger(index) || index < 0 || rows <= 0) {
      const last = Math.ceil(this.windows(T) / B) - 1;
      throw new ShapeError("sequential", `the index must be 0 .. ${last} with B=${B}, T=${T}`, `${index}`);
    }
    const starts = Array.from({ length: rows }, (_, b) => (index * B + b) * T);
    return this.#batch(starts, T);
  }

  /** @throws DataError if the file is too short for one sequence of T tokens and its targets */
  checkLength(T: number): void {
    if (this.count >= T + 1) return;
    const detail = `the file holds ${this.count} tokens, but sequences of T=${T} need at least ${T + 1}`;
    throw new DataError(this.name, "length", detail, "Use a smaller T or a longer text.");
  }

  async #batch(starts: number[], T: number): Promise<Batch> {
    const B = starts.length;
    const batch = { tokens: new Int32Array(B * T), targets: new Int32Array(B * T), B, T, starts };
    for (const [b, start] of starts.entries()) {
      const row = await this.read(start, T + 1);
      batch.tokens.set(row.subarray(0, T), b * T);
      batch.targets.set(row.subarray(1), b * T);
    }
    return batch;
  }

  async close(): Promise<void> {
    await this.#source.close?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function checkCounts(op: string, counts: Record<string, number>): void {
  for (const [name, value] of Object.entries(counts)) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new ShapeError(op, `${name} must be a whole number above 0`, `${value}`);
  }
}

function checkWords(op: string, words: Record<string, number>): void {
  for (const [name, value] of Object.entries(words)) {
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** 32) {
      throw new ShapeError(op, `the ${name} must be a whole number of 0 .. 2^32 - 1`, `${value}`);
    }
  }
}
