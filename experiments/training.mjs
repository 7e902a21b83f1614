// What the experiments share: their flags, a model that is trained in memory and measured on its way, and the lines that they
// record. Each line is written as soon as it is measured, so that a run that is killed loses nothing before.
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { describeMachine, sourceCommit } from "../dist/cli/machine.js";
import { ModelParameters, parseModelConfig, TrainStep } from "../dist/gpt/index.js";
import { openDevice } from "../dist/index.js";
import { evaluate, learningRate, scheduleOf, trainSchema } from "../dist/train/index.js";

/**
 * An experiment's flags and the runs that it is asked for; ends the process, saying what there is, where one is not known.
 * @param folder of the experiment; results go into its results.jsonl unless --out names another file
 * @param runs all runs by name
 * @param flags of its own: their defaults by name; where that is a number, so is the flag
 * @returns {flags, runs: [name, run][]}
 */
export function chosenRuns({ folder, runs, flags: own = {} }) {
  const defaults = { device: "auto", out: join(folder, "results.jsonl"), ...own };
  const options = Object.entries(defaults).map(([name, value]) => [name, { type: "string", default: `${value}` }]);
  const { values, positionals } = parseArgs({ allowPositionals: true, options: Object.fromEntries(options) });
  const unknown = positionals.filter((name) => !(name in runs));
  if (unknown.length > 0) {
    console.error(`There is no run ${unknown.join(", ")}. Runs: ${Object.keys(runs).join(", ")}.`);
    process.exit(2);
  }
  const names = positionals.length > 0 ? positionals : Object.keys(runs);
  for (const [name, value] of Object.entries(own)) if (typeof value === "number") values[name] = Number(values[name]);
  return { flags: values, runs: names.map((name) => [name, runs[name]]) };
}

/**
 * Opens the device that the flags name.
 * @returns {device, record}: `record` appends a line that says where, when and of which code its facts are
 */
export async function openExperiment(experiment, { device: name, out }) {
  const device = await openDevice(name, { log: (line) => console.error(line) });
  const where = { experiment, machine: describeMachine().text, device: device.description, commit: sourceCommit() };
  mkdirSync(dirname(resolve(out)), { recursive: true });
  const record = (facts) => {
    const line = { ...where, date: new Date().toISOString(), ...facts };
    appendFileSync(resolve(out), `${JSON.stringify(line)}\n`);
  };
  return { device, record };
}

/**
 * Trains a model, and yields what is measured at each evaluation: {step, tokens, loss, valLoss, lossByPosition, stepMs, elapsedMs,
 * visibleShare, gpt}. Times are of training alone. The learning rate follows the schedule over `train.steps` or, with `seconds`,
 * over that much time, which then ends the run.
 * @param model, train: as `scfa train` takes them; `train.checkpointEvery` says nothing here
 * @param data {train, validation}: token sources, as src/train/data.ts has them
 * @param parameters to go on training, of `newParameters`, which the caller disposes of; else new ones
 */
export async function* training({
  device,
  model,
  train: options,
  data,
  seconds = Number.POSITIVE_INFINITY,
  parameters: given,
}) {
  const parameters = given ?? newParameters(device, model);
  const train = trainSchema.parse(options);
  const { batch: B, accumulate, seed, steps } = train;
  const trainStep = newTrainStep(parameters, train);
  const gpt = trainStep.model;
  const sample = (step, part) => data.train.sample({ B, T: gpt.T, seed, step, firstRow: part * B });
  const drawOf = (step, part) => ({ seed, index: step * accumulate + part });
  let ahead = sample(0, 0);
  let [elapsedMs, losses, times] = [0, [], []];
  const isTimed = Number.isFinite(seconds);
  try {
    for (let step = 0, isLast = false; !isLast; step++) {
      const progress = isTimed ? Math.floor((elapsedMs / 1000 / seconds) * steps) : step;
      const start = performance.now();
      const { loss } = await trainStep.run({
        lr: learningRate(scheduleOf(train), Math.min(steps - 1, progress)),
        batch: async (part) => ({ batch: await (part === 0 ? ahead : sample(step, part)), draw: drawOf(step, part) }),
        meanwhile: () => {
          ahead = sample(step + 1, 0);
          gpt.prepare(drawOf(step + 1, 0));
        },
      });
      times.push(performance.now() - start);
      losses.push(loss);
      elapsedMs += times.at(-1);
      if (!Number.isFinite(loss)) throw new Error(`training: losses must be finite, got ${loss} in step ${step + 1}.`);
      isLast = isTimed ? elapsedMs >= 1000 * seconds : step + 1 >= steps;
      if (!isLast && (train.evalEvery === 0 || (step + 1) % train.evalEvery !== 0)) continue;
      const tokens = (step + 1) * trainStep.tokens;
      const lossMean = losses.reduce((sum, each) => sum + each, 0) / losses.length;
      const stepMs = times.sort((a, b) => a - b)[times.length >> 1];
      const measured = await validate(gpt, data, train.evalBatches);
      [losses, times] = [[], []];
      yield { step: step + 1, tokens, loss: lossMean, ...measured, stepMs, elapsedMs, isLast, gpt };
    }
  } finally {
    await ahead.catch(() => {});
    trainStep.dispose();
    if (!given) parameters.dispose();
  }
}

function newTrainStep(parameters, { batch, accumulate, context, clip, ...train }) {
  const { beta1, beta2, adamEpsilon: epsilon, weightDecay } = train;
  return new TrainStep(parameters, {
    batch,
    accumulate,
    ...(context && { context }),
    optimizer: { beta1, beta2, epsilon, weightDecay, maxNorm: clip ?? Number.POSITIVE_INFINITY },
  });
}

/** A model's parameters as they are before training. */
export function newParameters(device, model) {
  const parameters = new ModelParameters(device, parseModelConfig(model));
  parameters.initialize();
  return parameters;
}

/** Tokens of the first part of the context that has a loss of its own; each later part is twice as long as all before. */
const firstPart = 64;

/** Validation loss in nats a token: the mean, and by parts of the context, [[its end, its mean], ...]. */
async function validate(gpt, data, batches) {
  const sums = new Map();
  const valLoss = await evaluate(gpt, data, {
    batches,
    async onBatch({ targets }) {
      const each = await gpt.losses.read();
      for (let n = 0; n < targets.length; n++) {
        if (targets[n] === -1) continue;
        const end = Math.max(firstPart, 2 ** Math.ceil(Math.log2((n % gpt.T) + 1)));
        const sum = sums.get(end) ?? { loss: 0, count: 0 };
        sums.set(end, { loss: sum.loss + each[n], count: sum.count + 1 });
      }
    },
  });
  const lossByPosition = [...sums].sort(([a], [b]) => a - b).map(([end, { loss, count }]) => [end, loss / count]);
  return { valLoss, lossByPosition, visibleShare: await gpt.visibleShare() };
}
