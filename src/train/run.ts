import { join } from "node:path";
import { DataError, ScfaError } from "../errors.ts";
import { readJson } from "../files/json.ts";
import { openFile } from "../files/open.ts";
import { makeFolder, writeDurably } from "../files/write.ts";
import { listCheckpoints } from "./checkpoint.ts";
import { parseRunConfig, type RunConfig, runSchema } from "./config.ts";

/**
 * A run is a folder:
 *
 *     config.json            {model, train, data}: the whole configuration, defaults filled in (`runSchema`)
 *     metrics.jsonl          one JSON object a line for each step (`metricSchema`), appended as training goes; the last
 *                            line may be cut short after a kill
 *     checkpoints/step-N/    the state after step N, for the newest few and the last; see `checkpoint.ts`
 *
 * Names that begin with a dot are being written or were left by a kill; the next run removes them.
 */
export interface Run {
  readonly folder: string;
  readonly configPath: string;
  readonly metricsPath: string;
  readonly checkpoints: string;
  readonly config: RunConfig;
}

/**
 * Begins a run in a folder that has none yet.
 * @throws DataError if the folder holds another run or cannot be written
 */
export async function createRun(folder: string, config: RunConfig): Promise<Run> {
  const run = { ...pathsOf(folder), config };
  await makeFolder(folder);
  if (await holdsRun(folder)) {
    throw new DataError(folder, "create the run", "the folder holds a run", "Resume it, or choose another folder.");
  }
  await writeDurably(run.configPath, `${JSON.stringify(config, null, 2)}\n`);
  return run;
}

/**
 * Opens a run to resume, evaluate, sample or report.
 * @throws DataError if there is none, or its configuration is damaged
 */
export async function openRun(folder: string): Promise<Run> {
  const paths = pathsOf(folder);
  const source = await openFile(paths.configPath);
  const options = await readJson(source, runSchema).finally(() => source.close());
  try {
    return { ...paths, config: parseRunConfig(options) };
  } catch (error) {
    if (!(error instanceof ScfaError)) throw error;
    throw new DataError(paths.configPath, "content", error.message.replace(/\.$/, ""));
  }
}

/** Whether a folder holds a run. */
export async function holdsRun(folder: string): Promise<boolean> {
  const paths = pathsOf(folder);
  if ((await listCheckpoints(paths.checkpoints)).length > 0) return true;
  return openFile(paths.configPath).then(
    async (source) => {
      await source.close();
      return true;
    },
    () => false,
  );
}

function pathsOf(folder: string) {
  return {
    folder,
    configPath: join(folder, "config.json"),
    metricsPath: join(folder, "metrics.jsonl"),
    checkpoints: join(folder, "checkpoints"),
  };
}
