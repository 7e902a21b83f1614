import type { Recording } from "../device/device.ts";
import type { Tensor } from "../tensor.ts";
import type { ModelParameters } from "./parameters.ts";

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Shrinks matrices and tables; never biases and normalisation weights. */
  readonly weightDecay: number;
  /** The gradient is scaled down to this length; Infinity for no clipping. */
  readonly maxNorm: number;
}

/** What of the optimizer is neither parameters nor moments: a checkpoint stores it as JSON. */
export interface OptimizerCounters {
  /** Updates made; Adam's t. */
  updates: number;
  /** The loss is multiplied by this before the backward, 1 unless gradients are f16. */
  lossScale: number;
  /** Updates since the loss scale last changed. */
  updatesAtScale: number;
}

/** What one `update` did. */
export interface UpdateResult {
  /** Length of the gradient, before clipping, with the loss scale taken out. */
  readonly gradNorm: number;
  /** False if the gradient was not finite: then nothing changed, except that the loss scale is halved. */
  readonly applied: boolean;
}

/** Dynamic loss scaling as in "Mixed Precision Training" (Micikevicius et al., arXiv 1710.03740), for f16 gradients. */
const FIRST_LOSS_SCALE = 2 ** 16;
const LARGEST_LOSS_SCALE = 2 ** 24;
const UPDATES_BEFORE_DOUBLING = 1000;

/**
 * AdamW over a model's flat parameters, with float32 moments and master values. Gradients add up over any number of
 * backward passes between `begin` and `update`.
 */
export class AdamW {
  /** f32 [layout.size], like the two moments. */
  readonly gradients: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  readonly counters: OptimizerCounters;
  /** f32 [1]: the gradient's length, times the loss scale, once what `enqueue` enqueued has run. */
  readonly norm: Tensor;
  /** f32 [4]; see `Ops.adamw`. */
  readonly #control: Tensor;
  readonly #step: Recording;

  constructor(
    readonly parameters: ModelParameters,
    readonly options: AdamWOptions,
  ) {
    const { device, layout } = parameters;
    this.gradients = device.zeros([layout.size]);
    this.m = device.zeros([layout.size]);
    this.v = device.zeros([layout.size]);
    this.norm = device.zeros([1]);
    this.#control = device.zeros([4]);
    this.#step = device.record(() => {
      device.ops.gradNorm({ grad: this.gradients, norm: this.norm });
      this.#apply(0, layout.decayedSize, this.options.weightDecay);
      this.#apply(layout.decayedSize, layout.size - layout.decayedSize, 0);
    });
    this.counters = { updates: 0, lossScale: this.scalesLoss ? FIRST_LOSS_SCALE : 1, updatesAtScale: 0 };
  }

  /** Sets the gradients to zero. */
  begin(): void {
    this.parameters.device.ops.fill({ out: this.gradients, value: 0 });
  }

  /** Takes one step along the gradients, and waits for it. */
  async update({ lr }: { lr: number }): Promise<UpdateResult> {
    this.enqueue({ lr });
    return this.settle((await this.norm.read())[0]!);
  }

  /** Enqueues one step along the gradients; `settle` must follow before the next. */
  enqueue({ lr }: { lr: number }): void {
    const { beta1, beta2 } = this.options;
    const t = this.counters.updates + 1;
    this.#control.write(Float32Array.of(lr, 1 - beta1 ** t, 1 - beta2 ** t, 1 / this.counters.lossScale));
    this.#step.replay();
  }

  /** Brings the counters up to date with the step enqueued last. @param norm the value of `norm` */
  settle(norm: number): UpdateResult {
    const { lossScale } = this.counters;
    const applied = Number.isFinite(norm);
    if (applied) this.counters.updates++;
    this.#adjustLossScale(applied);
    return { gradNorm: norm / lossScale, applied };
  }

  /** Whether parameters and moments are finite throughout. */
  async isFinite(): Promise<boolean> {
    for (const flat of [this.parameters.values, this.m, this.v]) {
      this.parameters.device.ops.gradNorm({ grad: flat, norm: this.norm });
      if (!Number.isFinite((await this.norm.read())[0])) return false;
    }
    return true;
  }

  /** Whether gradients are of a type so narrow that they need a loss scale. */
  get scalesLoss(): boolean {
    return this.parameters.dtype === "f16";
  }

  #apply(offset: number, length: number, weightDecay: number): void {
    const { beta1, beta2, epsilon, maxNorm } = this.options;
    const part = (flat: Tensor) => flat.view([length], { offset });
    const { values, computed } = this.parameters;
    this.parameters.device.ops.adamw({
      param: part(values),
      computed: computed === values ? null : part(computed),
      grad: part(this.gradients),
      m: part(this.m),
      v: part(this.v),
      norm: this.norm,
      control: this.#control,
      maxNorm,
      beta1,
      beta2,
      epsilon,
      weightDecay,
    });
  }

  #adjustLossScale(applied: boolean): void {
    if (!this.scalesLoss) return;
    const { counters } = this;
    counters.updatesAtScale = applied ? counters.updatesAtScale + 1 : 0;
    if (!applied) counters.lossScale /= 2;
    else if (counters.updatesAtScale >= UPDATES_BEFORE_DOUBLING) {
      counters.lossScale = Math.min(LARGEST_LOSS_SCALE, counters.lossScale * 2);
      counters.updatesAtScale = 0;
    }
  }

  dispose(): void {
    this.#step.dispose();
    for (const tensor of [this.gradients, this.m, this.v, this.norm, this.#control]) tensor.dispose();
  }
}
