import { join } from "node:path";
import { openSafetensors, safetensorsChunks } from "../data/safetensors.ts";
import type { Device } from "../device/device.ts";
import { DataError, ScfaError } from "../errors.ts";
import { readJson } from "../files/json.ts";
import { openFile } from "../files/open.ts";
import { publishFolder } from "../files/publish.ts";
import { writeDurably } from "../files/write.ts";
import {
  fromHuggingFaceConfig,
  huggingFaceConfigSchema,
  loadHuggingFaceTensors,
  toHuggingFaceConfig,
  toHuggingFaceTensors,
} from "../gpt/huggingface.ts";
import { type ModelFileOptions, modelChunks } from "../gpt/modelFile.ts";
import { ModelParameters } from "../gpt/parameters.ts";
import type { FloatType } from "../tensor.ts";
import { type CheckpointState, loadParameters, newestGood } from "./checkpoint.ts";
import type { Run } from "./run.ts";

/** A trained model on a device, with the state of the run that it comes from. */
export interface LoadedModel {
  readonly parameters: ModelParameters;
  readonly state: CheckpointState;
  /** The checkpoint's folder. */
  readonly path: string;
}

/**
 * Loads the newest good checkpoint of a run, to evaluate, sample or export.
 * @param dtype type to compute in; default: the run's, or else the device's first choice
 * @param onMessage told of broken checkpoints that are passed over
 * @throws DataError if the run has no good checkpoint
 */
export async function loadModel(
  run: Run,
  device: Device,
  { dtype, onMessage }: { dtype?: FloatType; onMessage?: (message: string) => void } = {},
): Promise<LoadedModel> {
  const found = await newestGood(run.checkpoints, onMessage);
  if (!found) throw new DataError(run.checkpoints, "open", "the run has no checkpoint yet", "Train it first.");
  const parameters = new ModelParameters(device, run.config.model, dtype ?? run.config.train.dtype);
  try {
    await loadParameters(found.path, parameters);
  } catch (error) {
    parameters.dispose();
    throw error;
  }
  return { parameters, ...found };
}

/**
 * Writes a folder that Hugging Face's `GPT2LMHeadModel.from_pretrained` reads: `config.json` and `model.safetensors`.
 * @throws UnsupportedError if the model is not a GPT-2; DataError if the folder holds something or cannot be written
 */
export async function exportHuggingFace(folder: string, parameters: ModelParameters): Promise<void> {
  const config = toHuggingFaceConfig(parameters.config);
  const tensors = toHuggingFaceTensors(parameters);
  await publishFolder(folder, async (files) => {
    await files.write("config.json", `${JSON.stringify(config, null, 2)}\n`);
    // Its loader wants to be told that the arrays are laid out as PyTorch's.
    await files.write("model.safetensors", safetensorsChunks(tensors, { format: "pt" }));
  });
}

/**
 * Writes a model as one file, see `modelChunks`; an earlier one of that name is replaced whole or not at all.
 * @throws DataError if it cannot be written
 */
export async function exportModel(path: string, parameters: ModelParameters, options: ModelFileOptions): Promise<void> {
  await writeDurably(path, modelChunks(parameters, options));
}

/**
 * Reads a folder with `config.json` and `model.safetensors` of a GPT-2 of Hugging Face.
 * @throws DataError if a file is missing or damaged; UnsupportedError if it is another kind of model
 */
export async function importHuggingFace(
  folder: string,
  device: Device,
  { dtype }: { dtype?: FloatType } = {},
): Promise<ModelParameters> {
  const configPath = join(folder, "config.json");
  const configSource = await openFile(configPath);
  const hf = await readJson(configSource, huggingFaceConfigSchema).finally(() => configSource.close());
  const source = await openFile(join(folder, "model.safetensors"));
  try {
    const file = await openSafetensors(source);
    const parameters = new ModelParameters(device, checked(configPath, hf), dtype);
    await loadHuggingFaceTensors(parameters, file);
    return parameters;
  } finally {
    await source.close();
  }
}

function checked(
  path: string,
  hf: Parameters<typeof fromHuggingFaceConfig>[0],
): ReturnType<typeof fromHuggingFaceConfig> {
  try {
    return fromHuggingFaceConfig(hf);
  } catch (error) {
    if (!(error instanceof ScfaError) || error.name === "UnsupportedError") throw error;
    throw new DataError(path, "content", error.message.replace(/\.$/, ""));
  }
}
