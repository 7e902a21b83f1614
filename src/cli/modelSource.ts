import { openSafetensors } from "../data/safetensors.ts";
import type { Device } from "../device/device.ts";
import { openFile } from "../files/open.ts";
import { type DecodedModel, decodeModel } from "../gpt/modelFile.ts";
import { loadModel } from "../train/load.ts";
import { openRun } from "../train/run.ts";
import { tokenizerOf } from "./trainingData.ts";

/** A trained model that is there, to be put on a device. */
export interface ModelSource {
  load(device: Device): Promise<DecodedModel>;
}

/**
 * Opens the folder of a run, or a model in one file, whose name ends in .safetensors.
 * @param onMessage told of broken checkpoints that are passed over
 * @throws DataError if it is not there or damaged
 */
export async function openModel(
  path: string,
  { onMessage }: { onMessage: (message: string) => void },
): Promise<ModelSource> {
  if (path.endsWith(".safetensors")) {
    const source = await openFile(path);
    return {
      load: async (device) => {
        try {
          return await decodeModel(await openSafetensors(source), device);
        } finally {
          await source.close();
        }
      },
    };
  }
  const run = await openRun(path);
  return {
    load: async (device) => {
      const { parameters } = await loadModel(run, device, { onMessage });
      return { parameters, tokenizer: tokenizerOf(run) };
    },
  };
}
