import { join, resolve } from "node:path";
import { openSafetensors } from "../data/safetensors.ts";
import type { Device } from "../device/device.ts";
import { readJson } from "../files/json.ts";
import { openFile } from "../files/open.ts";
import { fromHuggingFaceConfig, huggingFaceConfigSchema, loadHuggingFaceTensors } from "../gpt/huggingface.ts";
import { AdamW } from "../gpt/optimizer.ts";
import { ModelParameters, parameterCount } from "../gpt/parameters.ts";
import { writeCheckpoint } from "../train/checkpoint.ts";
import { parseRunConfig } from "../train/config.ts";
import { createRun } from "../train/run.ts";

/**
 * Makes a run whose checkpoint of step 0 holds the weights of a Hugging Face GPT-2.
 * @throws DataError, UnsupportedError if the folder holds none
 */
export async function importHuggingFace({
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
  const configFile = await openFile(join(from, "config.json"));
  const model = fromHuggingFaceConfig(
    await readJson(configFile, huggingFaceConfigSchema).finally(() => configFile.close()),
  );
  const config = parseRunConfig({ model, train: { steps }, data: { folder: resolve(data), tokenizer: "gpt2" } });
  const weights = await openFile(join(from, "model.safetensors"));
  const parameters = new ModelParameters(device, config.model);
  const { beta1, beta2, adamEpsilon: epsilon, weightDecay, clip, seed } = config.train;
  const optimizer = new AdamW(parameters, { beta1, beta2, epsilon, weightDecay, maxNorm: clip ?? Infinity });
  try {
    await loadHuggingFaceTensors(parameters, await openSafetensors(weights));
    const run = await createRun(out, config);
    const counters = { ...optimizer.counters };
    const state = {
      version: 1 as const,
      step: 0,
      tokens: 0,
      elapsedMs: 0,
      seeds: { train: seed, model: config.model.seed },
      optimizer: counters,
      device: device.description,
      config,
    };
    await writeCheckpoint(run.checkpoints, { optimizer, state });
    return { parameters: parameterCount(parameters.layout) };
  } finally {
    optimizer.dispose();
    parameters.dispose();
    await weights.close();
  }
}
