import { Tokens } from "../../src/data/tokens.ts";
import { memorySource } from "../../src/files/source.ts";
import { parseRunConfig, type RunConfig, type RunOptions } from "../../src/train/config.ts";
import type { TrainingData } from "../../src/train/data.ts";

/** A run so small that the reference device does a step in milliseconds. */
export function tinyConfig({
  model = {},
  train = {},
}: {
  model?: Partial<RunOptions["model"]>;
  train?: RunOptions["train"];
} = {}): RunConfig {
  return parseRunConfig({
    model: {
      layers: 1,
      heads: 2,
      width: 32,
      vocabulary: 28,
      context: 16,
      sharedQK: true,
      attention: "window(4):1 hash(2):1",
      seed: 3,
      ...model,
    },
    train: { steps: 12, batch: 2, lr: 1e-2, evalEvery: 4, evalBatches: 2, checkpointEvery: 3, seed: 7, ...train },
    data: { folder: "none" },
  });
}

const sentence = "the quick brown fox jumps over the lazy dog and then the dog jumps over the quick brown fox ";

/** A text of 27 characters, in memory. */
export function tinyData(): TrainingData {
  return { train: tokensOf(sentence.repeat(6), "train.bin"), validation: tokensOf(sentence.repeat(2), "val.bin") };
}

function tokensOf(text: string, name: string): Tokens {
  const codes = Uint16Array.from(text, (c) => (c === " " ? 26 : c.charCodeAt(0) - 97));
  const bytes = new Uint8Array(codes.buffer);
  return new Tokens(memorySource(bytes, name), { tokenizer: "bytes", vocabularySize: 27 });
}

/** The run of `child.ts`: it writes checkpoints most of its time. */
export function killConfig(): RunConfig {
  return tinyConfig({ train: { steps: 60, evalEvery: 20, checkpointEvery: 1, keepCheckpoints: 3 } });
}
