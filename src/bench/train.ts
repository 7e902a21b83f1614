import type { Device } from "../device/device.ts";
import type { ModelConfig } from "../gpt/config.ts";
import { ModelParameters, parameterCount } from "../gpt/parameters.ts";
import type { Batch } from "../gpt/passInputs.ts";
import { TrainStep } from "../gpt/trainStep.ts";
import type { FloatType } from "../tensor.ts";
import { measureInTurns, type Times } from "./measure.ts";
import { drawBatch, readBatch } from "./tokens.ts";

/** One training step (forward, backward, update) of one model. */
export interface TrainMeasurement {
  readonly attention: string;
  /** From an idle device to the step's losses on the host: what the trainer does, reading of data left out. */
  readonly step: Times;
  readonly tokensPerS: number;
  /** Pairs that the last step attended to, over all causal ones. */
  readonly visibleShare: number;
  readonly parameters: number;
  /** Most memory that a device with this model alone ever holds: parameters, moments, activations, scratch. */
  readonly peakBytes: number | null;
  /** Mean loss of the first and of the last step. */
  readonly losses: readonly [number, number];
}

export interface BenchedModel {
  readonly attention: string;
  readonly config: ModelConfig;
}

export interface TrainBenchOptions {
  readonly device: Device;
  /** A new device for each measurement of memory, which is left out without; `device` is the one that times are taken on. */
  readonly openDevice?: () => Promise<Device>;
  /** Models that differ in their attention alone. */
  readonly models: readonly BenchedModel[];
  /** Type to compute in; the device's first choice if left out. */
  readonly dtype?: FloatType | undefined;
  /** Sequences of each step. */
  readonly batch: number;
  /** Measured steps of each model. */
  readonly rounds: number;
  /** Where the models' values begin, as `ModelParameters.copyFrom` takes them; drawn from the seed if left out. */
  readonly firstValues?: ModelParameters;
  /** A text to train on, at least batch * T + 1 tokens long; see `drawBatch` for what is drawn if it is left out. */
  readonly tokens?: ArrayLike<number>;
  readonly onProgress?: (done: number, of: number, what: string) => void;
}

/** A step that runs as it is, and one that a device may capture. */
const UNMEASURED_ROUNDS = 2;

/**
 * Times training steps of models that differ in their attention alone, in turns, on the same tokens, with a new batch and
 * new rotations each. The learning rate is 0: all of the update's work is done, and the weights stay where a run begins, so
 * that every step attends to about the same share of pairs. Training moves that share, for hashing follows the data: hidden
 * states that become alike meet in few buckets. A run's `metrics.jsonl` tells both, step by step.
 */
export async function benchTrain(options: TrainBenchOptions): Promise<TrainMeasurement[]> {
  const { device, models, rounds } = options;
  let done = 0;
  const total = models.length * (rounds + UNMEASURED_ROUNDS + 1);
  const tick = (what: string) => options.onProgress?.(++done, total, what);
  const runs: TrainRun[] = [];
  let measured: Omit<TrainMeasurement, "peakBytes">[];
  try {
    for (const model of models) {
      const run = new TrainRun(device, model, options);
      runs.push(run);
      run.begin(options.firstValues ?? runs[0]!.parameters);
    }
    const contestants = runs.map((run) => ({ name: run.attention, run: () => run.step() }));
    const times = await measureInTurns(contestants, { rounds, unmeasured: UNMEASURED_ROUNDS, onRun: tick });
    measured = await Promise.all(runs.map((run) => run.measurement(times.get(run.attention)!)));
  } finally {
    for (const run of runs) run.dispose();
  }
  const results: TrainMeasurement[] = [];
  for (const [n, measurement] of measured.entries()) {
    tick(`memory of ${measurement.attention}`);
    const memoryDevice = await options.openDevice?.();
    results.push({
      ...measurement,
      peakBytes: memoryDevice ? await peakMemory(memoryDevice, models[n]!, options) : null,
    });
  }
  return results;
}

/** One model, and the batch that it is trained on. */
class TrainRun {
  readonly attention: string;
  readonly parameters: ModelParameters;
  readonly #step: TrainStep;
  readonly #batch: (index: number) => Batch;
  /** The next step's. */
  #next: Batch;
  readonly #losses: number[] = [];

  constructor(device: Device, { attention, config }: BenchedModel, { batch, dtype, tokens: text }: TrainBenchOptions) {
    this.attention = attention;
    this.parameters = new ModelParameters(device, config, dtype);
    const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };
    this.#step = new TrainStep(this.parameters, { batch, optimizer });
    const { context, vocabulary } = config;
    this.#batch = (index) =>
      text ? readBatch(index, { batch, context, text }) : drawBatch(index, { batch, context, vocabulary });
    this.#next = this.#batch(0);
  }

  /** Sets the first values: a copy, because drawing them takes the host long. */
  begin(values: ModelParameters): void {
    if (values === this.parameters) this.parameters.initialize();
    else this.parameters.copyFrom(values);
  }

  /** @returns milliseconds from an idle device to the losses on the host */
  async step(): Promise<number> {
    const start = performance.now();
    const draw = (index: number) => ({ seed: 1, index });
    const index = this.#losses.length;
    const { loss } = await this.#step.run({
      lr: 0,
      batch: async () => ({ batch: this.#next, draw: draw(index) }),
      meanwhile: () => {
        this.#next = this.#batch(index + 1);
        this.#step.model.prepare(draw(index + 1));
      },
    });
    const ms = performance.now() - start;
    this.#losses.push(loss);
    return ms;
  }

  async measurement(step: Times): Promise<Omit<TrainMeasurement, "peakBytes">> {
    return {
      attention: this.attention,
      step,
      tokensPerS: (1000 * this.#step.tokens) / step.medianMs,
      visibleShare: await this.#step.model.visibleShare(),
      parameters: parameterCount(this.parameters.layout),
      losses: [this.#losses[0]!, this.#losses.at(-1)!],
    };
  }

  dispose(): void {
    this.#step.dispose();
    this.parameters.dispose();
  }
}

/** One step on a new device, which is disposed of. The values are all zero: what is held does not depend on them. */
async function peakMemory(device: Device, model: BenchedModel, options: TrainBenchOptions): Promise<number> {
  try {
    const run = new TrainRun(device, model, options);
    await run.step();
    const { peakBytes } = device.memory;
    run.dispose();
    return peakBytes;
  } finally {
    device.dispose();
  }
}
