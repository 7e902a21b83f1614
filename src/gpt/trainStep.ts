import type { Tensor } from "../tensor.ts";
import type { Draw } from "./draws.ts";
import { Gpt, type GptOptions, type ModelTensors } from "./model.ts";
import { AdamW, type AdamWOptions, type UpdateResult } from "./optimizer.ts";
import type { ModelParameters } from "./parameters.ts";
import { type Batch, meanLoss } from "./passInputs.ts";

export interface TrainStepOptions extends Omit<GptOptions, "training"> {
  /** Batches whose gradients add up to one step. Default 1. */
  readonly accumulate?: number;
  readonly optimizer: AdamWOptions;
}

/** What one step did. */
export interface StepResult extends UpdateResult {
  /** Mean of the batches' mean losses, in nats a token. If it is not finite, `applied` is false. */
  readonly loss: number;
}

/**
 * A model, its optimizer, and the step that trains it: some batches forward and backward, then one update. All of it is
 * enqueued before the one wait, so that the host works ahead while the device computes.
 */
export class TrainStep {
  readonly model: Gpt;
  readonly optimizer: AdamW;
  readonly accumulate: number;
  readonly #gradients: ModelTensors;
  /** f32 [accumulate, N]: every token's loss in each batch of a step. */
  readonly #losses: Tensor;

  /** @throws ShapeError if T exceeds the model's context */
  constructor(
    readonly parameters: ModelParameters,
    { accumulate = 1, optimizer, ...options }: TrainStepOptions,
  ) {
    this.accumulate = accumulate;
    this.model = new Gpt(parameters, options);
    this.optimizer = new AdamW(parameters, optimizer);
    this.#gradients = this.model.gradientTensors(this.optimizer.gradients);
    this.#losses = parameters.device.empty([accumulate, this.model.losses.size]);
  }

  /** B * T * accumulate */
  get tokens(): number {
    return this.#losses.size;
  }

  /**
   * Takes one step, and waits for it. Where a loss or gradient is not finite, nothing changes but the loss scale.
   * @param batch gives each of the step's batches, from 0, and what its random choices are drawn from
   * @param meanwhile called once when everything is enqueued: work for the host until the device has done it
   */
  async run({
    lr,
    batch,
    meanwhile,
  }: {
    lr: number;
    batch: (part: number) => Promise<{ batch: Batch; draw: Draw }>;
    meanwhile?: () => void;
  }): Promise<StepResult> {
    const { model, optimizer, accumulate } = this;
    const scale = optimizer.counters.lossScale / accumulate;
    const counted: number[] = [];
    optimizer.begin();
    for (let part = 0; part < accumulate; part++) {
      const { batch: given, draw } = await batch(part);
      counted.push(model.enqueue(given, { draw, gradients: this.#gradients, scale }));
      model.device.ops.copy({ x: model.losses, out: this.#lossesOf(part) });
    }
    optimizer.enqueue({ lr });
    const reading = Promise.all([this.#losses.read(), optimizer.norm.read()]);
    try {
      meanwhile?.();
    } finally {
      // Waited for even if `meanwhile` fails, so that no other failure is left without anyone to hear it.
      await reading;
    }
    const [losses, [norm]] = await reading;
    const size = losses.length / accumulate;
    const loss =
      counted.reduce((sum, n, part) => sum + meanLoss(losses.subarray(part * size, (part + 1) * size), n), 0) /
      accumulate;
    if (Number.isFinite(loss)) return { loss, ...optimizer.settle(norm!) };
    return { loss, gradNorm: norm! / optimizer.counters.lossScale, applied: Number.isFinite(norm) };
  }

  #lossesOf(part: number): Tensor {
    const size = this.model.losses.size;
    return this.#losses.view([size], { offset: part * size });
  }

  /** Gives everything back but the parameters. */
  dispose(): void {
    this.model.dispose();
    this.optimizer.dispose();
    this.#losses.dispose();
  }
}
