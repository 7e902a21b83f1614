import { resolve } from "node:path";
import { z } from "zod";
import { readJson } from "../files/json.ts";
import { openFile } from "../files/open.ts";
import { type ModelOptions, modelPresets, modelSchema } from "../gpt/config.ts";
import { parseRunConfig, type RunConfig, trainPresets, trainSchema } from "../train/config.ts";
import { type Flags, flagName } from "./command.ts";
import { schemaFlags } from "./schemaFlags.ts";

const { seed: _seed, vocabulary, ...modelFields } = z.toJSONSchema(modelSchema, { io: "input" }).properties!;
const { context: trainContext, ...trainFields } = z.toJSONSchema(trainSchema, { io: "input" }).properties!;

/** Flags for every field of a run's configuration. `--seed` seeds the model and the order of the data. */
export const configFlags: Flags = {
  ...schemaFlags(modelFields),
  ...schemaFlags({ vocabulary, trainContext }),
  ...schemaFlags(trainFields),
};

/** Ready configurations by name: a model, how to train it, or both. */
export const presetNames = [...new Set([...Object.keys(modelPresets), ...Object.keys(trainPresets)])];

/** What the preset `demo` sets, as flags. */
export function presetAsFlags(name: string): string {
  const { model, train } = configOfPreset(name);
  return Object.entries({ ...model, ...train })
    .map(([key, value]) => `${flagName(key)} ${value === true ? "on" : value}`)
    .join(" ");
}

/** A configuration as far as a file and flags say it. */
export interface PartialConfig {
  readonly model: Readonly<Record<string, unknown>>;
  readonly train: Readonly<Record<string, unknown>>;
  readonly data: Readonly<Record<string, unknown>>;
}

const section = z.record(z.string(), z.unknown()).default({});
const fileSchema = z.strictObject({ model: section, train: section, data: section });

/**
 * Reads a configuration file; what it says is checked later, with the flags.
 * @throws DataError if it is no JSON object of model, train and data
 */
export async function readConfigFile(path: string): Promise<PartialConfig> {
  const source = await openFile(path);
  return readJson(source, fileSchema).finally(() => source.close());
}

/** Sorts flags into the sections of a configuration. */
export function configOfFlags(flags: Readonly<Record<string, unknown>>): PartialConfig {
  const pick = (keys: readonly string[]) =>
    Object.fromEntries(keys.filter((key) => flags[key] !== undefined).map((key) => [key, flags[key]]));
  return {
    model: { ...pick([...Object.keys(modelFields), "vocabulary", "seed"]) },
    train: {
      ...pick(Object.keys(trainFields)),
      ...(flags["trainContext"] !== undefined && { context: flags["trainContext"] }),
    },
    data: {},
  };
}

/** Models by the names of presets: those of their own name, and what the settings of the paper's runs are for. */
const presetModels: Readonly<Record<string, ModelOptions>> = {
  ...modelPresets,
  "paper-8k": { ...modelPresets["paper-124m"], context: 8192 },
  "paper-16k": { ...modelPresets["paper-124m"], context: 16384 },
};

/** A preset's sections, without the vocabulary, which follows from the data. */
export function configOfPreset(name: string): PartialConfig {
  const { vocabulary: _, ...model } = presetModels[name] ?? ({} as Partial<ModelOptions>);
  const train = (trainPresets as Readonly<Record<string, object>>)[name];
  return { model, train: { ...train }, data: {} };
}

/** Later configurations win, field by field. */
export function mergeConfigs(...configs: readonly PartialConfig[]): PartialConfig {
  const merge = (key: keyof PartialConfig) => Object.assign({}, ...configs.map((config) => config[key]));
  return { model: merge("model"), train: merge("train"), data: merge("data") };
}

/**
 * The checked configuration, with the data's folder as given from the working folder.
 * @throws ShapeError with one sentence about the first thing that is wrong
 */
export function checkConfig(config: PartialConfig, data: { folder: string; tokenizer: string }): RunConfig {
  return parseRunConfig({ ...config, data: { ...data, folder: resolve(data.folder) } });
}
