import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { openSafetensors, safetensorsChunks } from "../data/safetensors.ts";
import { DataError } from "../errors.ts";
import { verifyFolder, writeManifest } from "../files/checksum.ts";
import { errorCode, fileError } from "../files/errors.ts";
import { readJson } from "../files/json.ts";
import { cleanLeftovers, forget, temporaryBeside } from "../files/leftovers.ts";
import { openFile } from "../files/open.ts";
import { publishFolder } from "../files/publish.ts";
import type { AdamW } from "../gpt/optimizer.ts";
import type { ModelParameters } from "../gpt/parameters.ts";
import { runSchema } from "./config.ts";

/**
 * A checkpoint is a folder `step-00001500` that appears whole or not at all:
 *
 *     model.safetensors      parameters, float32, by the names of `parameterLayout`
 *     optimizer.safetensors  AdamW's moments, as `m.<name>` and `v.<name>`
 *     state.json             everything else; see `stateSchema`
 *     checksums.json         length and SHA-256 of the three files above
 */
const MODEL_FILE = "model.safetensors";
const OPTIMIZER_FILE = "optimizer.safetensors";
const STATE_FILE = "state.json";
const FOLDER_NAME = /^step-(\d{8,})$/;

/** `state.json`: what a resumed run needs besides the tensors. */
export const stateSchema = z.strictObject({
  version: z.literal(1),
  /** Optimizer steps done; also the place in the data, which is a function of seed and step. */
  step: z.int().min(0),
  tokens: z.int().min(0),
  /** Time spent in steps so far. */
  elapsedMs: z.number().min(0),
  /** Seeds of the data's order and of the model's random choices; draws are functions of seed and step. */
  seeds: z.strictObject({ train: z.int(), model: z.int() }),
  optimizer: z.strictObject({
    updates: z.int().min(0),
    lossScale: z.number().positive(),
    updatesAtScale: z.int().min(0),
  }),
  /** What computed it, for people. */
  device: z.string(),
  config: runSchema,
});

export type CheckpointState = z.infer<typeof stateSchema>;

/**
 * Writes a checkpoint. A kill or a full disk at any moment leaves the earlier checkpoints as they are.
 * @returns its folder
 * @throws DataError if it cannot be written
 */
export async function writeCheckpoint(
  checkpoints: string,
  { optimizer, state }: { optimizer: AdamW; state: CheckpointState },
): Promise<string> {
  const { parameters, m, v } = optimizer;
  const moments = [
    ...parameters.tensorsToWrite({ flat: m, prefix: "m." }),
    ...parameters.tensorsToWrite({ flat: v, prefix: "v." }),
  ];
  const path = join(checkpoints, `step-${String(state.step).padStart(8, "0")}`);
  await publishFolder(
    path,
    async (folder) => {
      await folder.write(MODEL_FILE, safetensorsChunks(parameters.tensorsToWrite(), { format: "scfa" }));
      await folder.write(OPTIMIZER_FILE, safetensorsChunks(moments, { format: "scfa" }));
      await folder.write(STATE_FILE, `${JSON.stringify(state, null, 2)}\n`);
      await writeManifest(folder);
    },
    { overwrite: true },
  );
  return path;
}

/** The checkpoints in a folder, newest first; none if there is no folder. */
export async function listCheckpoints(checkpoints: string): Promise<{ step: number; path: string }[]> {
  const names = await readdir(checkpoints).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return [];
    throw fileError(checkpoints, "read the folder", error);
  });
  return names
    .flatMap((name) => {
      const step = FOLDER_NAME.exec(name)?.[1];
      return step === undefined ? [] : [{ step: Number(step), path: join(checkpoints, name) }];
    })
    .sort((a, b) => b.step - a.step);
}

/**
 * Checks all of a checkpoint's files and reads its state.
 * @throws DataError naming the file that is missing, cut short or changed
 */
export async function readState(path: string): Promise<CheckpointState> {
  const digests = await verifyFolder(path);
  for (const name of [MODEL_FILE, OPTIMIZER_FILE, STATE_FILE]) {
    if (!(name in digests)) throw new DataError(path, name, "the checkpoint does not list this file");
  }
  const source = await openFile(join(path, STATE_FILE));
  return readJson(source, stateSchema).finally(() => source.close());
}

/**
 * Reads a checkpoint's parameters to a device.
 * @throws DataError if they are not those of the model
 */
export async function loadParameters(path: string, parameters: ModelParameters): Promise<void> {
  const source = await openFile(join(path, MODEL_FILE));
  try {
    await parameters.load(await openSafetensors(source));
  } finally {
    await source.close();
  }
  parameters.refresh();
}

/**
 * Reads a checkpoint's parameters and moments to a device, bit for bit as they were.
 * @throws DataError if they are not those of the model
 */
export async function loadOptimizer(path: string, optimizer: AdamW, state: CheckpointState): Promise<void> {
  await loadParameters(path, optimizer.parameters);
  const source = await openFile(join(path, OPTIMIZER_FILE));
  try {
    const file = await openSafetensors(source);
    await optimizer.parameters.load(file, { into: optimizer.m, prefix: "m." });
    await optimizer.parameters.load(file, { into: optimizer.v, prefix: "v." });
  } finally {
    await source.close();
  }
  Object.assign(optimizer.counters, state.optimizer);
}

/**
 * The newest checkpoint whose files are all as they were written. Broken ones are passed over, each with a message.
 * @returns null if there is no checkpoint at all
 * @throws DataError if there are checkpoints but none is good
 */
export async function newestGood(
  checkpoints: string,
  onMessage: (message: string) => void = () => {},
): Promise<{ path: string; state: CheckpointState } | null> {
  await cleanLeftovers(checkpoints).catch((error: unknown) => {
    throw fileError(checkpoints, "read the folder", error);
  });
  const all = await listCheckpoints(checkpoints);
  for (const { path } of all) {
    try {
      return { path, state: await readState(path) };
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      onMessage(`The checkpoint ${path} is passed over. ${error.message}`);
    }
  }
  if (all.length === 0) return null;
  throw new DataError(checkpoints, "all checkpoints", `none of ${all.length} is whole`, "Start a new run.");
}

/**
 * Removes what a run no longer needs after writing the checkpoint of `step`: all but the newest `keep`, and any of later
 * steps, which were passed over as broken when the run resumed. A kill in between leaves none half-removed.
 * @throws DataError if one cannot be removed
 */
export async function pruneCheckpoints(
  checkpoints: string,
  { step, keep }: { step: number; keep: number },
): Promise<void> {
  const all = await listCheckpoints(checkpoints);
  const broken = all.filter((checkpoint) => checkpoint.step > step);
  const old = all.filter((checkpoint) => checkpoint.step <= step).slice(keep);
  for (const { path } of [...broken, ...old]) {
    const aside = temporaryBeside(path);
    try {
      await rename(path, aside);
      await rm(aside, { recursive: true, force: true });
    } catch (error) {
      throw fileError(path, "remove", error);
    } finally {
      forget(aside);
    }
  }
}
