import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { z } from "zod";
import { DataError } from "../errors.ts";
import { fileError } from "../files/errors.ts";
import { checkSchema, parseJson } from "../files/json.ts";

/**
 * One line of `metrics.jsonl`: what one optimizer step did. A number that JSON cannot hold is never written, because a
 * step with a loss that is not finite stops the run before its line.
 */
export const metricSchema = z.object({
  /** Optimizer steps done, from 1. */
  step: z.int().min(1),
  /** Tokens trained on so far. */
  tokens: z.int().min(1),
  /** Mean training loss of the step, in nats a token, before its update. */
  loss: z.number(),
  /** Mean loss over the validation batches, in nats a token, after the update; on the steps that evaluate. */
  valLoss: z.number().optional(),
  /** Learning rate of the step. */
  lr: z.number(),
  /** Length of the whole gradient, before clipping. */
  gradNorm: z.number(),
  /** Time of the step without evaluation and checkpoints. */
  stepMs: z.number(),
  tokensPerS: z.number(),
  /** Time spent training so far, over all resumes: steps only, without evaluation and checkpoints. */
  elapsedMs: z.number(),
  /** Visible pairs over causal pairs, 1 for dense attention, mean over layers and heads; on the steps that evaluate. */
  visibleShare: z.number().optional(),
});

export type Metric = z.infer<typeof metricSchema>;

/**
 * The lines of a metrics file, in order; an empty list if there is no file. A last line without its line feed, as a kill
 * leaves it, is passed over.
 * @throws DataError naming the line that is not a metric
 */
export function readMetrics(path: string): Metric[] {
  return completeLines(path).map((line, i) => parseLine(path, line, i + 1));
}

function completeLines(path: string): string[] {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat) return [];
    // A device or a pipe may have no end.
    if (!stat.isFile()) throw new DataError(path, "open", "this is not a regular file", "Name a run's metrics.jsonl.");
    return readFileSync(path, "utf8").split("\n").slice(0, -1);
  } catch (error) {
    throw fileError(path, "read", error);
  }
}

function parseLine(path: string, line: string, number: number): Metric {
  const place = { file: path, within: `line ${number}` };
  return checkSchema(parseJson(line, place, { maxBytes: 1 << 16, maxDepth: 4 }), metricSchema, place);
}

/** Appends to `metrics.jsonl`, one line a step. */
export class MetricsWriter {
  readonly #path: string;
  readonly #file: number;

  /**
   * Opens the file and cuts off what a resumed run will do again: every line after `lastStep`.
   * @throws DataError if the file cannot be written or holds something else
   */
  constructor(path: string, { lastStep }: { lastStep: number }) {
    this.#path = path;
    const bytes = bytesUpTo(path, lastStep);
    try {
      this.#file = openSync(path, "a");
      ftruncateSync(this.#file, bytes);
    } catch (error) {
      throw fileError(path, "open", error);
    }
  }

  /** @throws DataError if the disk is full; the line may then stand there in part, which readers pass over */
  append(metric: Metric): void {
    try {
      const line = Buffer.from(`${JSON.stringify(metric)}\n`);
      for (let done = 0; done < line.length; ) done += writeSync(this.#file, line, done);
    } catch (error) {
      throw fileError(this.#path, "write", error);
    }
  }

  /** Brings the lines to the disk, as far as the operating system does that. */
  flush(): void {
    try {
      fsyncSync(this.#file);
    } catch (error) {
      throw fileError(this.#path, "write", error);
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** Bytes of the complete lines up to and including `lastStep`. */
function bytesUpTo(path: string, lastStep: number): number {
  let bytes = 0;
  let number = 0;
  for (const line of completeLines(path)) {
    if (parseLine(path, line, ++number).step > lastStep) break;
    bytes += Buffer.byteLength(line) + 1;
  }
  return bytes;
}
