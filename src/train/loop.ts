import type { Device } from "../device/device.ts";
import { DataError, ShapeError, UnsupportedError } from "../errors.ts";
import { cleanLeftovers } from "../files/leftovers.ts";
import { parseModelConfig } from "../gpt/config.ts";
import { Gpt, type ModelTensors } from "../gpt/model.ts";
import { AdamW } from "../gpt/optimizer.ts";
import { ModelParameters, parameterCount } from "../gpt/parameters.ts";
import { type CheckpointState, loadOptimizer, newestGood, pruneCheckpoints, writeCheckpoint } from "./checkpoint.ts";
import { type RunConfig, scheduleOf } from "./config.ts";
import { padded, type TrainingData } from "./data.ts";
import { DivergedError } from "./errors.ts";
import { type Metric, MetricsWriter } from "./metrics.ts";
import type { Run } from "./run.ts";
import { learningRate } from "./schedule.ts";

/** What a run tells as it goes. */
export type TrainEvent =
  | {
      readonly type: "start";
      /** Steps done before; 0 for a new run. */
      readonly step: number;
      readonly steps: number;
      readonly parameters: number;
      readonly tokensPerStep: number;
      readonly device: string;
      /** The checkpoint that the run goes on from. */
      readonly resumedFrom: string | null;
    }
  | { readonly type: "step"; readonly metric: Metric; readonly etaMs: number }
  | { readonly type: "checkpoint"; readonly step: number; readonly path: string }
  /** A sentence for the log: a broken checkpoint passed over, an overflow. */
  | { readonly type: "message"; readonly text: string };

export interface TrainOptions {
  readonly run: Run;
  readonly device: Device;
  readonly data: TrainingData;
  /** Sets the first values of a new run: weights read from elsewhere. Default: drawn from the model's seed. */
  readonly initialize?: (parameters: ModelParameters) => Promise<void>;
  readonly onEvent?: (event: TrainEvent) => void;
  /** Waited for before each step, outside of its time; gets the steps done. Lets several runs take turns on a device. */
  readonly beforeStep?: (step: number) => Promise<void>;
  /** When it fires, the step in progress is finished, a checkpoint is written, and training returns. */
  readonly signal?: AbortSignal;
}

export interface TrainResult {
  /** Steps done. */
  readonly step: number;
  /** Whether the run is at its end, rather than stopped by the signal. */
  readonly finished: boolean;
  readonly checkpoint: string;
}

/** Below this an f16 run no longer overflows by bad luck but diverges. */
const SMALLEST_LOSS_SCALE = 2 ** -10;
/** Keeps evaluation's random choices apart from training's. */
const EVALUATION_SEED = 0x6576616c;

/**
 * Trains a run, from its newest good checkpoint on if it has one, to its last step. On a device whose ops are
 * deterministic a resumed run gives the same losses, bit for bit, as one that never stopped.
 * @throws DivergedError when a loss or gradient is not finite, with the last good state kept; DataError when a file
 *   cannot be read or written; ShapeError when data, model and training do not fit together
 */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const trainer = await Trainer.open(options);
  try {
    return await trainer.train();
  } finally {
    trainer.dispose();
  }
}

class Trainer {
  readonly #options: TrainOptions;
  readonly #config: RunConfig;
  readonly #parameters: ModelParameters;
  readonly #optimizer: AdamW;
  readonly #gradients: ModelTensors;
  readonly #model: Gpt;
  #metrics: MetricsWriter | undefined;
  #step = 0;
  #tokens = 0;
  #elapsedMs = 0;
  /** The checkpoint of the newest state that was written or read. */
  #checkpoint: { step: number; path: string } | null = null;

  /** Checks that all fits together, and loads the newest checkpoint. */
  static async open(options: TrainOptions): Promise<Trainer> {
    checkFit(options);
    const trainer = new Trainer(options);
    try {
      await trainer.#begin();
      return trainer;
    } catch (error) {
      trainer.dispose();
      throw error;
    }
  }

  private constructor(options: TrainOptions) {
    const { model, train } = options.run.config;
    this.#options = options;
    this.#config = options.run.config;
    this.#parameters = new ModelParameters(options.device, model, train.dtype);
    this.#optimizer = new AdamW(this.#parameters, {
      beta1: train.beta1,
      beta2: train.beta2,
      epsilon: train.adamEpsilon,
      weightDecay: train.weightDecay,
      maxNorm: train.clip ?? Number.POSITIVE_INFINITY,
    });
    const { context } = train;
    this.#model = new Gpt(this.#parameters, { batch: train.batch, ...(context === undefined ? {} : { context }) });
    this.#gradients = this.#model.gradientTensors(this.#optimizer.gradients);
  }

  async #begin(): Promise<void> {
    const { run, initialize } = this.#options;
    await cleanLeftovers(run.folder);
    const found = await newestGood(run.checkpoints, (text) => this.#tell({ type: "message", text }));
    if (found) {
      checkSameModel(found.path, found.state, this.#config);
      await loadOptimizer(found.path, this.#optimizer, found.state);
      this.#step = found.state.step;
      this.#tokens = found.state.tokens;
      this.#elapsedMs = found.state.elapsedMs;
      this.#checkpoint = { step: this.#step, path: found.path };
    } else if (initialize) {
      await initialize(this.#parameters);
    } else {
      this.#parameters.initialize();
    }
    this.#metrics = new MetricsWriter(run.metricsPath, { lastStep: this.#step });
    // Weights from elsewhere may not be there when the run is resumed.
    if (!found && initialize) await this.#save();
    this.#tell({
      type: "start",
      step: this.#step,
      steps: this.#config.train.steps,
      parameters: parameterCount(this.#parameters.layout),
      tokensPerStep: this.#tokensPerStep,
      device: this.#options.device.description,
      resumedFrom: found?.path ?? null,
    });
  }

  async train(): Promise<TrainResult> {
    const { steps, checkpointEvery } = this.#config.train;
    const stopped = () => this.#options.signal?.aborted === true;
    let averageMs = 0;
    while (this.#step < steps) {
      await this.#options.beforeStep?.(this.#step);
      if (stopped()) break;
      const metric = await this.#trainStep();
      averageMs = averageMs === 0 ? metric.stepMs : 0.9 * averageMs + 0.1 * metric.stepMs;
      this.#metrics!.append(metric);
      this.#tell({ type: "step", metric, etaMs: averageMs * (steps - this.#step) });
      if (checkpointEvery > 0 && this.#step % checkpointEvery === 0) await this.#save();
    }
    const checkpoint = await this.#save();
    return { step: this.#step, finished: this.#step >= steps, checkpoint };
  }

  /** One optimizer step, and an evaluation where one is due. */
  async #trainStep(): Promise<Metric> {
    const { train } = this.#config;
    const lr = learningRate(scheduleOf(train), this.#step);
    const start = performance.now();
    const { loss, gradNorm } = await this.#update(lr);
    const stepMs = performance.now() - start;
    this.#step++;
    this.#tokens += this.#tokensPerStep;
    this.#elapsedMs += stepMs;
    const isDue = this.#step === train.steps || (train.evalEvery > 0 && this.#step % train.evalEvery === 0);
    const evaluation = isDue && train.evalBatches > 0 ? await this.#evaluate() : {};
    return {
      step: this.#step,
      tokens: this.#tokens,
      loss,
      ...evaluation,
      lr,
      gradNorm,
      stepMs,
      tokensPerS: (1000 * this.#tokensPerStep) / stepMs,
      elapsedMs: this.#elapsedMs,
    };
  }

  /** Gradient and update; done again with a smaller loss scale while an f16 gradient overflows. */
  async #update(lr: number): Promise<{ loss: number; gradNorm: number }> {
    const { counters } = this.#optimizer;
    for (;;) {
      const loss = await this.#gradient();
      if (!Number.isFinite(loss)) throw await this.#diverged("loss", loss);
      const { gradNorm, applied } = await this.#optimizer.update({ lr });
      if (applied) return { loss, gradNorm };
      if (!this.#optimizer.scalesLoss || counters.lossScale < SMALLEST_LOSS_SCALE) {
        throw await this.#diverged("gradient", gradNorm);
      }
      const text = `Step ${this.#step + 1}: an f16 gradient overflowed; again with loss scale ${counters.lossScale}.`;
      this.#tell({ type: "message", text });
    }
  }

  /** Mean loss of the step's batches, their gradients added up in the optimizer. */
  async #gradient(): Promise<number> {
    const { batch: B, accumulate, seed } = this.#config.train;
    const { train } = this.#options.data;
    this.#optimizer.begin();
    let sum = 0;
    for (let part = 0; part < accumulate; part++) {
      const rows = { B, T: this.#model.T, seed, step: this.#step, firstRow: part * B };
      sum += await this.#model.accumulate(await train.sample(rows), {
        draw: { seed, index: this.#step * accumulate + part },
        gradients: this.#gradients,
        scale: this.#optimizer.counters.lossScale / accumulate,
      });
    }
    return sum / accumulate;
  }

  async #evaluate(): Promise<Pick<Metric, "valLoss" | "visibleShare">> {
    const { evalBatches } = this.#config.train;
    const valLoss = await evaluate(this.#model, this.#options.data, { batches: evalBatches });
    return { valLoss, visibleShare: await this.#model.visibleShare() };
  }

  /** Writes a checkpoint unless this state has one. */
  async #save({ prune = true } = {}): Promise<string> {
    if (this.#checkpoint?.step === this.#step) return this.#checkpoint.path;
    const { run } = this.#options;
    // Lines first: a checkpoint whose step has no line would be resumed without it.
    this.#metrics!.flush();
    const path = await writeCheckpoint(run.checkpoints, { optimizer: this.#optimizer, state: this.#state() });
    this.#checkpoint = { step: this.#step, path };
    if (prune) {
      await pruneCheckpoints(run.checkpoints, { step: this.#step, keep: this.#config.train.keepCheckpoints });
    }
    this.#tell({ type: "checkpoint", step: this.#step, path });
    return path;
  }

  #state(): CheckpointState {
    const { model, train } = this.#config;
    return {
      version: 1,
      step: this.#step,
      tokens: this.#tokens,
      elapsedMs: this.#elapsedMs,
      seeds: { train: train.seed, model: model.seed },
      optimizer: { ...this.#optimizer.counters },
      device: this.#options.device.description,
      config: this.#config,
    };
  }

  /**
   * The error for a step that failed. The optimizer left everything as it was before the step; that is kept, if it is
   * finite itself, and no older checkpoint is removed for it.
   */
  async #diverged(quantity: "loss" | "gradient", value: number): Promise<DivergedError> {
    if (this.#step > 0 && (await this.#optimizer.isFinite())) await this.#save({ prune: false });
    return new DivergedError(this.#step + 1, quantity, value, this.#checkpoint?.path ?? null);
  }

  get #tokensPerStep(): number {
    const { batch, accumulate } = this.#config.train;
    return batch * accumulate * this.#model.T;
  }

  #tell(event: TrainEvent): void {
    this.#options.onEvent?.(event);
  }

  dispose(): void {
    this.#metrics?.close();
    this.#model.dispose();
    this.#optimizer.dispose();
    this.#parameters.dispose();
  }
}

/**
 * Mean validation loss in nats a token.
 * @param batches how many, spread evenly over the validation tokens; all if there are fewer
 * @throws DataError if the validation tokens are fewer than one sequence needs
 */
export async function evaluate(
  model: Gpt,
  { validation }: Pick<TrainingData, "validation">,
  { batches }: { batches: number },
): Promise<number> {
  const { B, T } = model;
  const available = Math.ceil(validation.windows(T) / B);
  const count = Math.min(batches, available);
  if (count === 0) throw tooShort(validation.name, T);
  let sum = 0;
  let targets = 0;
  for (let n = 0; n < count; n++) {
    const batch = await validation.sequential({ B, T, index: Math.floor((n * available) / count) });
    const loss = await model.evaluate(padded(batch, { B, T }), { draw: { seed: EVALUATION_SEED, index: n } });
    sum += loss * batch.targets.length;
    targets += batch.targets.length;
  }
  return sum / targets;
}

function checkFit({ run, device, data }: TrainOptions): void {
  const { model, train } = run.config;
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

function tooShort(name: string, T: number): DataError {
  const fix = "Use a smaller context or a longer text.";
  return new DataError(name, "length", `there are too few tokens for a sequence of ${T} and its targets`, fix);
}

function checkSameModel(path: string, state: CheckpointState, config: RunConfig): void {
  const text = (model: unknown) => JSON.stringify(Object.entries(parseModelConfig(model)).sort());
  if (text(state.config.model) === text(config.model)) return;
  throw new DataError(path, "state.json", "its model is not the one of the run's config.json", "Restore the file.");
}
