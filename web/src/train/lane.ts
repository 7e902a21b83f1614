import type { Device } from "scfa";
import {
  type Batch,
  encodeModel,
  generate,
  ModelParameters,
  type OptimizerCounters,
  parameterCount,
  parseModelConfig,
  TrainStep,
} from "scfa/gpt";
import { PlainError } from "../ui/messages.ts";
import { Random } from "../ui/random.ts";
import { attentionOf, type LaneName, sizes, type TrainSettings } from "./settings.ts";

/** All that a lane needs to go on as if it had never stopped. The arrays are [layout.size] of the model's parameters. */
export interface LaneState {
  readonly step: number;
  readonly values: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
  readonly counters: OptimizerCounters;
}

export interface StepTaken {
  /** Steps done. */
  readonly step: number;
  /** Mean over the sequence, in nats a byte, before the update. */
  readonly loss: number;
  readonly stepMs: number;
}

const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };
const warmupSteps = 10;
const seed = 1;

/** One model in training on a device: bytes, one sequence a step. */
export class Lane {
  readonly #device: Device;
  readonly #settings: TrainSettings;
  readonly #text: Uint8Array;
  readonly #parameters: ModelParameters;
  readonly #trainStep: TrainStep;
  #step = 0;

  constructor(
    device: Device,
    {
      name,
      settings,
      text,
      state,
    }: { name: LaneName; settings: TrainSettings; text: Uint8Array; state: LaneState | null },
  ) {
    const { layers, heads, width } = sizes[settings.size];
    const config = parseModelConfig({
      layers,
      heads,
      width,
      vocabulary: 256,
      context: settings.T,
      positions: "rope",
      attention: attentionOf(name, settings),
    });
    this.#device = device;
    this.#settings = settings;
    this.#text = text;
    this.#parameters = new ModelParameters(device, config, "f32");
    this.#trainStep = new TrainStep(this.#parameters, { batch: 1, optimizer });
    if (state) this.#restore(state);
    else this.#parameters.initialize();
  }

  get parameterCount(): number {
    return parameterCount(this.#parameters.layout);
  }

  /** @throws PlainError if the loss is no longer a number; the model is then as it was before the step */
  async step(): Promise<StepTaken> {
    const index = this.#step;
    const lr = this.#settings.learningRate * Math.min(1, (index + 1) / warmupSteps);
    const start = performance.now();
    const { loss, applied } = await this.#trainStep.run({
      lr,
      batch: async () => ({ batch: this.#batch(index), draw: { seed, index } }),
    });
    if (!applied || !Number.isFinite(loss)) {
      throw new PlainError(
        `The loss is no longer a number after step ${index}.`,
        "Begin a new run with a lower learning rate.",
      );
    }
    this.#step++;
    return { step: this.#step, loss, stepMs: performance.now() - start };
  }

  /**
   * Takes steps and takes them back: a GPU compiles its kernels in the first and records the second, which is no part of
   * the time that a lane is measured by.
   */
  async warmUp(): Promise<void> {
    const state = await this.state();
    await this.step();
    await this.step();
    this.#restore(state);
  }

  /** A sequence at a place that follows from the step alone: both lanes, and a resumed run, read the same. */
  #batch(index: number): Batch {
    const { T } = this.#settings;
    const start = Math.floor(new Random(index).uniform() * (this.#text.length - T));
    const tokens = Int32Array.from(this.#text.subarray(start, start + T));
    const targets = Int32Array.from(this.#text.subarray(start + 1, start + T + 1));
    return { tokens, targets };
  }

  /** Visible pairs of the last step over those of dense attention. */
  visibleShare(): Promise<number> {
    return this.#trainStep.model.visibleShare();
  }

  /** Goes on writing after a prompt, byte by byte. */
  async *write(prompt: Uint8Array, count: number): AsyncGenerator<string> {
    const decoder = new TextDecoder();
    const choices = { count, temperature: 0.8, topK: 40, seed: this.#step };
    for await (const token of generate(this.#parameters, prompt, choices)) {
      yield decoder.decode(Uint8Array.of(token), { stream: true });
    }
  }

  /** The weights as a file that `scfa sample` reads. */
  weights(): Promise<Uint8Array<ArrayBuffer>> {
    return encodeModel(this.#parameters, { tokenizer: "bytes" });
  }

  async state(): Promise<LaneState> {
    const { m, v, counters } = this.#trainStep.optimizer;
    const [values, first, second] = await Promise.all([this.#parameters.values.read(), m.read(), v.read()]);
    return { step: this.#step, values, m: first, v: second, counters: { ...counters } };
  }

  #restore({ step, values, m, v, counters }: LaneState): void {
    const { optimizer } = this.#trainStep;
    this.#parameters.values.write(values);
    this.#parameters.refresh();
    optimizer.m.write(m);
    optimizer.v.write(v);
    Object.assign(optimizer.counters, counters);
    this.#step = step;
  }

  dispose(): void {
    this.#trainStep.dispose();
    this.#parameters.dispose();
    this.#device.dispose();
  }
}
