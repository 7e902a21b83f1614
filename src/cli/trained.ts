import type { Device } from "../device/device.ts";
import { DataError } from "../errors.ts";
import { ModelParameters } from "../gpt/parameters.ts";
import { type CheckpointState, loadParameters, newestGood } from "../train/checkpoint.ts";
import type { Run } from "../train/run.ts";

/** A run's newest weights on a device. */
export interface Trained {
  /** Yours to dispose. */
  readonly parameters: ModelParameters;
  readonly state: CheckpointState;
}

/**
 * Loads the newest good checkpoint of a run.
 * @throws DataError if there is none
 */
export async function openTrained(run: Run, device: Device, say: (text: string) => void = () => {}): Promise<Trained> {
  const found = await newestGood(run.checkpoints, say);
  if (!found) {
    throw new DataError(run.folder, "checkpoints", "the run has none yet", "Train it until its first checkpoint.");
  }
  const parameters = new ModelParameters(device, run.config.model, run.config.train.dtype);
  try {
    await loadParameters(found.path, parameters);
  } catch (error) {
    parameters.dispose();
    throw error;
  }
  return { parameters, state: found.state };
}
