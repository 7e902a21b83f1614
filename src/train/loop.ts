import type { Device } from "../device/device.ts";
import { cleanLeftovers } from "../files/leftovers.ts";
import type { Draw } from "../gpt/draws.ts";
import { ModelParameters, parameterCount } from "../gpt/parameters.ts";
import type { Batch } from "../gpt/passInputs.ts";
import { type StepResult, TrainStep } from "../gpt/trainStep.ts";
import { type CheckpointState, loadOptimizer, newestGood, pruneCheckpoints, writeCheckpoint } from "./checkpoint.ts";
import { type RunConfig, scheduleOf } from "./config.ts";
import type { TrainingData } from "./data.ts";
import { DivergedError } from "./errors.ts";
import { evaluate } from "./evaluate.ts";
import { checkFit, checkSameModel } from "./fit.ts";
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
  readonly #trainStep: TrainStep;
  #metrics: MetricsWriter | undefined;
  /** The first batch of a step to come, read while the device is at work on the one before. */
  #ahead: { readonly step: number; readonly batch: Promise<Batch> } | null = null;
  #step = 0;
  #tokens = 0;
  #elapsedMs = 0;
  /** The checkpoint of the newest state that was written or read. */
  #checkpoint: { step: number; path: string } | null = null;

  /** Checks that all fits together, and loads the newest checkpoint. */
  static async open(options: TrainOptions): Promise<Trainer> {
    checkFit({ config: options.run.config, device: options.device, data: options.data });
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
    const { batch, accumulate, context } = train;
    this.#trainStep = new TrainStep(this.#parameters, {
      batch,
      accumulate,
      ...(context === undefined ? {} : { context }),
      optimizer: {
        beta1: train.beta1,
        beta2: train.beta2,
        epsilon: train.adamEpsilon,
        weightDecay: train.weightDecay,
        maxNorm: train.clip ?? Number.POSITIVE_INFINITY,
      },
    });
  }

  async #begin(): Promise<void> {
    const { run, initialize } = this.#options;
    await cleanLeftovers(run.folder);
    const found = await newestGood(run.checkpoints, (text) => this.#tell({ type: "message", text }));
    if (found) {
      checkSameModel(found.path, found.state, this.#config);
      await loadOptimizer(found.path, this.#trainStep.optimizer, found.state);
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
      const metric = await this.#advance();
      averageMs = averageMs === 0 ? metric.stepMs : 0.9 * averageMs + 0.1 * metric.stepMs;
      this.#metrics!.append(metric);
      this.#tell({ type: "step", metric, etaMs: averageMs * (steps - this.#step) });
      if (checkpointEvery > 0 && this.#step % checkpointEvery === 0) await this.#save();
    }
    const checkpoint = await this.#save();
    return { step: this.#step, finished: this.#step >= steps, checkpoint };
  }

  /** One optimizer step, and an evaluation where one is due. */
  async #advance(): Promise<Metric> {
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
  async #update(lr: number): Promise<StepResult> {
    const { optimizer } = this.#trainStep;
    for (;;) {
      const result = await this.#trainStep.run({
        lr,
        batch: async (part) => ({ batch: await this.#batch(part), draw: this.#draw(this.#step, part) }),
        meanwhile: () => this.#lookAhead(),
      });
      const { loss, gradNorm, applied } = result;
      if (!Number.isFinite(loss)) throw await this.#diverged("loss", loss, { unchanged: !applied });
      if (applied) return result;
      const { lossScale } = optimizer.counters;
      if (!optimizer.scalesLoss || lossScale < SMALLEST_LOSS_SCALE) {
        throw await this.#diverged("gradient", gradNorm, { unchanged: true });
      }
      const text = `Step ${this.#step + 1}: an f16 gradient overflowed; again with loss scale ${lossScale}.`;
      this.#tell({ type: "message", text });
    }
  }

  async #batch(part: number): Promise<Batch> {
    if (part === 0 && this.#ahead?.step === this.#step) return this.#ahead.batch;
    return this.#sample(this.#step, part);
  }

  #sample(step: number, part: number): Promise<Batch> {
    const { batch: B, seed } = this.#config.train;
    return this.#options.data.train.sample({ B, T: this.#trainStep.model.T, seed, step, firstRow: part * B });
  }

  #draw(step: number, part: number): Draw {
    const { accumulate, seed } = this.#config.train;
    return { seed, index: step * accumulate + part };
  }

  /** Work for the host while the device is at a step: what the next one begins with. */
  #lookAhead(): void {
    const step = this.#step + 1;
    if (step >= this.#config.train.steps || this.#ahead?.step === step) return;
    const batch = this.#sample(step, 0);
    // A failure is one of the step that needs the batch, and is thrown there.
    batch.catch(() => {});
    this.#ahead = { step, batch };
    this.#trainStep.model.prepare(this.#draw(step, 0));
  }

  async #evaluate(): Promise<Pick<Metric, "valLoss" | "visibleShare">> {
    const { evalBatches } = this.#config.train;
    const { model } = this.#trainStep;
    const valLoss = await evaluate(model, this.#options.data, { batches: evalBatches });
    return { valLoss, visibleShare: await model.visibleShare() };
  }

  /** Writes a checkpoint unless this state has one. */
  async #save({ prune = true } = {}): Promise<string> {
    if (this.#checkpoint?.step === this.#step) return this.#checkpoint.path;
    const { run } = this.#options;
    // Lines first: a checkpoint whose step has no line would be resumed without it.
    this.#metrics!.flush();
    const path = await writeCheckpoint(run.checkpoints, { optimizer: this.#trainStep.optimizer, state: this.#state() });
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
      optimizer: { ...this.#trainStep.optimizer.counters },
      device: this.#options.device.description,
      config: this.#config,
    };
  }

  /**
   * The error for a step that failed. The optimizer left everything as it was before the step; that is kept, if it is
   * finite itself, and no older checkpoint is removed for it.
   * @param unchanged false if the optimizer moved all the same: a device that breaks its word on a loss that is not finite
   */
  async #diverged(
    quantity: "loss" | "gradient",
    value: number,
    { unchanged }: { unchanged: boolean },
  ): Promise<DivergedError> {
    if (unchanged && this.#step > 0 && (await this.#trainStep.optimizer.isFinite())) await this.#save({ prune: false });
    return new DivergedError(this.#step + 1, quantity, value, this.#checkpoint?.path ?? null);
  }

  get #tokensPerStep(): number {
    return this.#trainStep.tokens;
  }

  #tell(event: TrainEvent): void {
    this.#options.onEvent?.(event);
  }

  dispose(): void {
    this.#metrics?.close();
    this.#trainStep.dispose();
    this.#parameters.dispose();
  }
}
