import type { Device } from "../device/device.ts";
import type { ModelConfig } from "../gpt/config.ts";
import { Gpt } from "../gpt/model.ts";
import { AdamW } from "../gpt/optimizer.ts";
import { ModelParameters, parameterCount } from "../gpt/parameters.ts";
import { uniformAt } from "../rng.ts";
import { measureInTurns, type Times } from "./measure.ts";

/** One training step (forward, backward, update) of one model. */
export interface TrainMeasurement {
  readonly attention: string;
  readonly step: Times;
  readonly tokensPerS: number;
  readonly visibleShare: number;
  readonly parameters: number;
  /** Mean loss of the first and of the last step, to show that it learns. */
  readonly losses: readonly [number, number];
}

/** Times training steps of models that differ in their attention alone, in turns, on the same random tokens. */
export async function benchTrain({
  device,
  models,
  batch,
  rounds,
  tokens,
  onProgress,
}: {
  readonly device: Device;
  readonly models: readonly { readonly attention: string; readonly config: ModelConfig }[];
  readonly batch: number;
  readonly rounds: number;
  /** A text to train on, at least batch * T + 1 tokens long; random tokens that repeat themselves if left out. */
  readonly tokens?: ArrayLike<number>;
  readonly onProgress?: (done: number, of: number, what: string) => void;
}): Promise<TrainMeasurement[]> {
  const runs = models.map(({ attention, config }) => new TrainRun(device, { attention, config, batch, tokens }));
  let done = 0;
  try {
    const contestants = runs.map((run) => ({ name: run.attention, run: () => run.step() }));
    const times = await measureInTurns(contestants, {
      rounds,
      onRun: (name) => onProgress?.(++done, runs.length * (rounds + 1), name),
    });
    return await Promise.all(runs.map((run) => run.measurement(times.get(run.attention)!)));
  } finally {
    for (const run of runs) run.dispose();
  }
}

class TrainRun {
  readonly attention: string;
  readonly #parameters: ModelParameters;
  readonly #optimizer: AdamW;
  readonly #model: Gpt;
  readonly #batch: { tokens: Int32Array; targets: Int32Array };
  readonly #losses: number[] = [];

  constructor(
    device: Device,
    options: { attention: string; config: ModelConfig; batch: number; tokens: ArrayLike<number> | undefined },
  ) {
    const { config, batch } = options;
    this.attention = options.attention;
    this.#parameters = new ModelParameters(device, config);
    this.#parameters.initialize();
    this.#optimizer = new AdamW(this.#parameters, {
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      weightDecay: 0.1,
      maxNorm: 1,
    });
    this.#model = new Gpt(this.#parameters, { batch });
    const token = (i: number) => options.tokens?.[i] ?? Math.floor(uniformAt(1, 0, i % 97) * config.vocabulary);
    const length = batch * config.context;
    this.#batch = {
      tokens: Int32Array.from({ length }, (_, i) => token(i)),
      targets: Int32Array.from({ length }, (_, i) => token(i + 1)),
    };
  }

  async step(): Promise<void> {
    const draw = { seed: 1, index: this.#losses.length };
    this.#optimizer.begin();
    const gradients = this.#model.gradientTensors(this.#optimizer.gradients);
    this.#losses.push(await this.#model.accumulate(this.#batch, { draw, gradients, scale: 1 }));
    await this.#optimizer.update({ lr: 1e-3 });
  }

  async measurement(step: Times): Promise<TrainMeasurement> {
    return {
      attention: this.attention,
      step,
      tokensPerS: (1000 * this.#batch.tokens.length) / step.medianMs,
      visibleShare: await this.#model.visibleShare(),
      parameters: parameterCount(this.#parameters.layout),
      losses: [this.#losses[0]!, this.#losses.at(-1)!],
    };
  }

  dispose(): void {
    this.#model.dispose();
    this.#optimizer.dispose();
    this.#parameters.dispose();
  }
}
