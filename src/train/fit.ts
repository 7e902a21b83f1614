import type { Device } from "../device/device.ts";
import { DataError, ShapeError, UnsupportedError } from "../errors.ts";
import { parseModelConfig } from "../gpt/config.ts";
import type { CheckpointState } from "./checkpoint.ts";
import type { RunConfig } from "./config.ts";
import type { TrainingData } from "./data.ts";

/**
 * Whether a run can be trained at all on this device and with these data.
 * @throws ShapeError, UnsupportedError or DataError about the first thing that does not fit
 */
export function checkFit({ config, device, data }: { config: RunConfig; device: Device; data: TrainingData }): void {
  const { model, train } = config;
  const T = train.context ?? model.context;
  if (T > model.context) {
    throw new ShapeError("train.context", `it must be at most the model's context of ${model.context}`, `${T}`);
  }
  if (train.dtype && !device.capabilities.floatTypes.includes(train.dtype)) {
    const known = device.capabilities.floatTypes.join(", ");
    throw new UnsupportedError("train.dtype", `it must be one of ${known} on ${device.description}`, train.dtype);
  }
  for (const source of [data.train, data.validation]) {
    if (source.vocabularySize > model.vocabulary) {
      const rule = `it must be at least ${source.vocabularySize}, the tokens of ${source.name}`;
      throw new ShapeError("model.vocabulary", rule, `${model.vocabulary}`);
    }
  }
  if (data.train.windows(T) === 0) throw tooShort(data.train.name, T);
  if (train.evalBatches > 0 && data.validation.windows(T) === 0) throw tooShort(data.validation.name, T);
}

/** The error for tokens that are fewer than one sequence needs. */
export function tooShort(name: string, T: number): DataError {
  const fix = "Use a smaller context or a longer text.";
  return new DataError(name, "length", `there are too few tokens for a sequence of ${T} and its targets`, fix);
}

/** @throws DataError if a checkpoint's model is not the one that the run's configuration names */
export function checkSameModel(path: string, state: CheckpointState, config: RunConfig): void {
  const text = (model: unknown) => JSON.stringify(Object.entries(parseModelConfig(model)).sort());
  if (text(state.config.model) === text(config.model)) return;
  throw new DataError(path, "state.json", "its model is not the one of the run's config.json", "Restore the file.");
}
