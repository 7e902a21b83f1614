import { resolve } from "node:path";
import type { Device } from "../device/device.ts";
import { AdamW } from "../gpt/optimizer.ts";
import { parameterCount } from "../gpt/parameters.ts";
import { writeCheckpoint } from "../train/checkpoint.ts";
import { parseRunConfig } from "../train/config.ts";
import { importHuggingFace } from "../train/load.ts";
import { createRun } from "../train/run.ts";

/**
 * Makes a run whose checkpoint of step 0 holds the weights of a Hugging Face GPT-2.
 * @throws DataError, UnsupportedError if the folder holds none
 */
export async function importRun({
  from,
  out,
  device,
  data = "data",
  steps = 1000,
}: {
  readonly from: string;
  readonly out: string;
  readonly device: Device;
  readonly data?: string;
  readonly steps?: number;
}): Promise<{ parameters: number }> {
  const parameters = await importHuggingFace(from, device);
  const config = parseRunConfig({
    model: parameters.config,
    train: { steps },
    data: { folder: resolve(data), tokenizer: parameters.config.vocabulary <= 256 ? "bytes" : "gpt2" },
  });
  const { beta1, beta2, adamEpsilon: epsilon, weightDecay, clip, seed } = config.train;
  const optimizer = new AdamW(parameters, { beta1, beta2, epsilon, weightDecay, maxNorm: clip ?? Infinity });
  try {
    const run = await createRun(out, config);
    const state = {
      version: 1 as const,
      step: 0,
      tokens: 0,
      elapsedMs: 0,
      seeds: { train: seed, model: config.model.seed },
      optimizer: { ...optimizer.counters },
      device: device.description,
      config,
    };
    await writeCheckpoint(run.checkpoints, { optimizer, state });
    return { parameters: parameterCount(parameters.layout) };
  } finally {
    optimizer.dispose();
    parameters.dispose();
  }
}
