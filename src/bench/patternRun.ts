import { PreparedAttention } from "../attention.ts";
import type { Verdict } from "../conformance/case.ts";
import type { Device, Recording } from "../device/device.ts";
import type { Tensor } from "../tensor.ts";
import { checkSample, drawSample, type ReadHead } from "./check.ts";
import type { BenchInputs } from "./inputs.ts";
import { type MadePattern, makePattern } from "./patterns.ts";

/** Inputs and outputs of attention on one device; patterns take turns with them. */
export class BenchTensors {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** Nowhere zero, for times, until `check` leaves the sampled rows alone in it. */
  readonly dout: Tensor;
  readonly o: Tensor;
  readonly lse: Tensor;
  readonly dq: Tensor;
  readonly dk: Tensor;
  readonly dv: Tensor;

  constructor(
    readonly device: Device,
    readonly inputs: BenchInputs,
  ) {
    const { B, Tq, H } = inputs.shape;
    this.q = inputs.upload(device, "q");
    this.k = inputs.upload(device, "k");
    this.v = inputs.upload(device, "v");
    this.dout = inputs.upload(device, "dout");
    const like = (tensor: Tensor) => device.empty(tensor.shape, tensor.dtype);
    this.o = like(this.q);
    this.lse = device.empty([B, H, Tq]);
    [this.dq, this.dk, this.dv] = [like(this.q), like(this.k), like(this.v)];
  }

  /** Makes dout zero in all rows but these. */
  keepRowsOfDout(rows: readonly number[]): void {
    const { device, dout } = this;
    const kept = device.zeros(dout.shape, dout.dtype);
    for (const row of rows) device.ops.copy({ x: dout.slice(1, row, 1), out: kept.slice(1, row, 1) });
    device.ops.copy({ x: kept, out: dout });
    kept.dispose();
  }

  dispose(): void {
    const { q, k, v, dout, o, lse, dq, dk, dv } = this;
    for (const tensor of [q, k, v, dout, o, lse, dq, dk, dv]) tensor.dispose();
  }
}

/**
 * One pattern's calls over given tensors, as a training step makes them: everything allocated before, forward and backward
 * each a recording, so that a device's times are those of its work and not of the host that enqueues it.
 */
export class PatternRun {
  readonly #made: MadePattern;
  readonly #prepared: PreparedAttention;
  /** f32 [B, H, Tq]: scratch of the backward. */
  readonly #delta: Tensor;
  readonly #building: Recording;
  readonly #forward: Recording;
  readonly #backward: Recording;

  constructor(
    readonly tensors: BenchTensors,
    readonly notation: string,
    { sharedQK }: { sharedQK: boolean },
  ) {
    const { device, q, k, inputs } = tensors;
    const { B, Tq, Tk, H, Hk, D } = inputs.shape;
    this.#made = makePattern(notation, { q, k, seed: 1, sharedQK });
    this.#prepared = new PreparedAttention(device, {
      shape: { B, Tq, Tk, H, Hk },
      pattern: this.#made.pattern,
      scale: 1 / Math.sqrt(D),
    });
    this.#delta = device.empty([B, H, Tq]);
    const build = () => {
      this.#made.choose();
      this.#prepared.build();
    };
    this.#building = device.record(build);
    this.#forward = device.record(() => {
      build();
      this.#prepared.forward(tensors);
    });
    this.#backward = device.record(() => this.#prepared.backward({ ...tensors, delta: this.#delta }));
  }

  /** Enqueues what the forward begins with, alone: hashing or dropping, and the staircase. */
  build(): void {
    this.#building.replay();
  }

  /** Enqueues the whole forward: hashing or dropping, the staircase, attention. */
  forward(): void {
    this.#forward.replay();
  }

  /** Milliseconds by the host's clock of so many forwards, one behind the other, until the last has ended. */
  async timeForwards(runs: number): Promise<number> {
    const { device } = this.tensors;
    await device.synchronize();
    const start = performance.now();
    for (let n = 0; n < runs; n++) this.forward();
    await device.synchronize();
    return performance.now() - start;
  }

  /** Enqueues the gradients of the last forward, which must have been this pattern's. */
  backward(): void {
    this.#backward.replay();
  }

  /** Pairs that the last forward's staircases show. */
  visiblePairs(): Promise<number> {
    return this.#prepared.visiblePairs();
  }

  /**
   * Runs what is timed once more, into poisoned outputs, and holds them against the reference on a sample. From then on
   * dout is zero in all rows that are not sampled.
   */
  async check({ backward }: { backward: boolean }): Promise<{ forward: Verdict; backward?: Verdict }> {
    const { tensors } = this;
    const { device, inputs } = tensors;
    const sample = drawSample(inputs);
    for (const out of [tensors.o, tensors.lse, tensors.dq, tensors.dk, tensors.dv]) {
      device.ops.fill({ out, value: Number.NaN });
    }
    tensors.keepRowsOfDout(sample.rows);
    this.forward();
    if (backward) this.backward();
    const mask = await this.#made.pattern.mask(inputs.shape);
    const perKeyHead = inputs.shape.H / inputs.shape.Hk;
    const read: ReadHead = (name, { b, keyHead }) => {
      const [first, count] = name === "o" || name === "dq" ? [keyHead * perKeyHead, perKeyHead] : [keyHead, 1];
      return tensors[name].slice(0, b, 1).slice(2, first, count).read() as Promise<Float32Array>;
    };
    return checkSample({ inputs, sample, mask }, read, { gradients: backward });
  }

  dispose(): void {
    this.#building.dispose();
    this.#forward.dispose();
    this.#backward.dispose();
    this.#delta.dispose();
    this.#prepared.dispose();
    this.#made.dispose();
  }
}
