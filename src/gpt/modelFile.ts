import { encodeSafetensors, type Safetensors, safetensorsChunks } from "../data/safetensors.ts";
import type { Device } from "../device/device.ts";
import { DataError, ScfaError } from "../errors.ts";
import type { FloatType } from "../tensor.ts";
import { type ModelConfig, parseModelConfig } from "./config.ts";
import { ModelParameters } from "./parameters.ts";

/**
 * A model in one file: safetensors with the parameters as float32, by the names of `parameterLayout`, and in its metadata
 *
 *     format     "scfa-model"
 *     config     the model's configuration, as JSON
 *     tokenizer  what its tokens are: "bytes" or "gpt2"
 */
const FORMAT = "scfa-model";

export interface ModelFileOptions {
  /** What the model's tokens are: "bytes" or "gpt2". */
  readonly tokenizer: string;
}

/** A model on a device, out of a file. */
export interface DecodedModel {
  readonly parameters: ModelParameters;
  readonly tokenizer: string;
}

/** The bytes of a model file piece by piece, one parameter at a time. */
export function modelChunks(parameters: ModelParameters, options: ModelFileOptions): AsyncGenerator<Uint8Array> {
  return safetensorsChunks(parameters.tensorsToWrite(), metadataOf(parameters.config, options));
}

/** A whole model file in memory; `decodeModel` and `scfa sample` read it. */
export function encodeModel(parameters: ModelParameters, options: ModelFileOptions): Promise<Uint8Array<ArrayBuffer>> {
  return encodeSafetensors(parameters.tensorsToWrite(), metadataOf(parameters.config, options));
}

/**
 * Puts the model of a file on a device.
 * @param file what `openSafetensors` or `decodeSafetensors` made
 * @param dtype type to compute in; default: the device's first choice
 * @throws DataError if the file holds no model of this package, or not the parameters that its configuration says
 */
export async function decodeModel(
  file: Safetensors,
  device: Device,
  { dtype }: { dtype?: FloatType } = {},
): Promise<DecodedModel> {
  const { format, tokenizer, config } = file.metadata;
  if (format !== FORMAT || tokenizer === undefined || config === undefined) {
    const fix = "Take one that the playground or `scfa export --format scfa` wrote.";
    throw new DataError(file.name, "header", "the file must be a model of scfa with its configuration", fix);
  }
  const parameters = new ModelParameters(device, configOf(file.name, config), dtype);
  try {
    await parameters.load(file);
    parameters.refresh();
  } catch (error) {
    parameters.dispose();
    throw error;
  }
  return { parameters, tokenizer };
}

function metadataOf(config: ModelConfig, { tokenizer }: ModelFileOptions): Record<string, string> {
  return { format: FORMAT, config: JSON.stringify(config), tokenizer };
}

function configOf(name: string, text: string): ModelConfig {
  try {
    return parseModelConfig(JSON.parse(text));
  } catch (error) {
    const detail = error instanceof ScfaError ? error.message : "the configuration is not JSON";
    throw new DataError(name, "header, config", detail.replace(/\.$/, ""));
  }
}
