import { describe, expect, it, vi } from "vitest";
import type { Device } from "../device/device.ts";
import { openReferenceDevice, referenceValues } from "../reference/device.ts";
import { uniformAt } from "../rng.ts";
import { parseModelConfig } from "./config.ts";
import { Gpt } from "./model.ts";
import { AdamW } from "./optimizer.ts";
import { ModelParameters } from "./parameters.ts";
import type { Batch } from "./passInputs.ts";
import { TrainStep } from "./trainStep.ts";

const config = parseModelConfig({
  layers: 2,
  heads: 4,
  kvHeads: 2,
  width: 64,
  vocabulary: 11,
  context: 9,
  attention: ["hash(4):2 drop(0.4):2", "union(window(2), hash(2)):4"],
  documentEnd: 4,
  seed: 3,
});
const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };

function setUp({ accumulate = 3 } = {}) {
  const device = openReferenceDevice();
  const parameters = new ModelParameters(device, config);
  parameters.initialize();
  return { device, parameters, step: new TrainStep(parameters, { batch: 2, accumulate, optimizer }) };
}

function batchOf(index: number): Batch {
  const draw = (stream: number) =>
    Int32Array.from({ length: 18 }, (_, i) => Math.floor(11 * uniformAt(index, stream, i)));
  const targets = draw(1);
  targets[index % 18] = -1;
  return { tokens: draw(0), targets };
}

const passOf = (step: number) => async (part: number) => {
  const index = 3 * step + part;
  return { batch: batchOf(index), draw: { seed: 1, index } };
};

/** Fails on whatever a recording must not do; counts recordings. */
function strictAboutRecordings(device: Device): { made: number } {
  const counts = { made: 0 };
  const record = device.record.bind(device);
  vi.spyOn(device, "record").mockImplementation((run) => {
    counts.made++;
    return record(() => {
      const spies = (["empty", "write", "read", "release"] as const).map((name) =>
        vi.spyOn(device, name).mockImplementation(() => {
          throw new Error(`${name} within a recording`);
        }),
      );
      run();
      for (const spy of spies) spy.mockRestore();
    });
  });
  return counts;
}

describe("TrainStep", () => {
  it("does what passes and an update one after another do, number for number", async () => {
    const { parameters, step } = setUp();
    const other = setUp().parameters;
    const model = new Gpt(other, { batch: 2 });
    const adamw = new AdamW(other, optimizer);
    const gradients = model.gradientTensors(adamw.gradients);
    for (let n = 0; n < 3; n++) {
      const result = await step.run({ lr: 0.01, batch: passOf(n) });
      adamw.begin();
      let sum = 0;
      for (let part = 0; part < 3; part++) {
        const { batch, draw } = await passOf(n)(part);
        sum += await model.accumulate(batch, { draw, gradients, scale: 1 / 3 });
      }
      const update = await adamw.update({ lr: 0.01 });
      expect(result).toEqual({ loss: sum / 3, ...update });
    }
    expect(referenceValues(parameters.values)).toEqual(referenceValues(other.values));
  });

  it("records its launches once, and what it records neither makes, reads nor writes tensors", async () => {
    const device = openReferenceDevice();
    const parameters = new ModelParameters(device, config);
    parameters.initialize();
    const recordings = strictAboutRecordings(device);
    const step = new TrainStep(parameters, { batch: 2, accumulate: 3, optimizer });
    const losses = [];
    for (let n = 0; n < 3; n++) losses.push((await step.run({ lr: 0.01, batch: passOf(n) })).loss);
    expect(recordings.made).toBe(2);
    expect(losses.every(Number.isFinite)).toBe(true);
    step.dispose();
    parameters.dispose();
    expect(device.memory.bytes).toBe(0);
  });

  it("waits once, after all is enqueued and the host has done its own work", async () => {
    const { device, step } = setUp();
    const log: string[] = [];
    for (const name of ["read", "synchronize"] as const) {
      const original = device[name].bind(device) as (...args: unknown[]) => Promise<never>;
      vi.spyOn(device, name).mockImplementation((...args: unknown[]) => {
        log.push(name);
        return original(...args);
      });
    }
    const batch = async (part: number) => {
      log.push(`batch ${part}`);
      return passOf(0)(part);
    };
    await step.run({ lr: 0.01, batch, meanwhile: () => log.push("meanwhile") });
    expect(log).toEqual(["batch 0", "batch 1", "batch 2", "read", "read", "meanwhile"]);
  });

  it("uploads rotations and keys of all layers as one block each", async () => {
    const { device, step } = setUp({ accumulate: 1 });
    const write = vi.spyOn(device, "write");
    const sizes = async (index: number) => {
      write.mockClear();
      await step.run({ lr: 0.01, batch: passOf(index) });
      return write.mock.calls.map(([tensor]) => tensor.size);
    };
    // Tokens, targets, documents and the gradient's scale; keys of one group; rotations of layer 0 (2 heads and their
    // key head, 2 columns) and layer 1 (4 heads and 2 key heads, 1 column) of D = 16; the optimizer's numbers.
    const rotations = 16 * ((2 + 1) * 2 + (4 + 2) * 1);
    expect(await sizes(0)).toEqual([18, 18, 18, 1, 4, rotations, 4]);
    expect(await sizes(1)).toEqual([18, 18, 18, 1, 4, rotations, 4]);
  });

  it("changes nothing where a loss is not finite in any of its batches", async () => {
    const { parameters, step } = setUp();
    await step.run({ lr: 0.01, batch: passOf(0) });
    const before = [parameters.values, step.optimizer.m, step.optimizer.v].map(referenceValues);
    const counters = { ...step.optimizer.counters };
    const poisoned = async (part: number) => {
      const given = await passOf(1)(part);
      // Outside the vocabulary: its loss is NaN.
      if (part === 1) given.batch.targets[7] = 11;
      return given;
    };
    expect(await step.run({ lr: 0.01, batch: poisoned })).toMatchObject({ loss: Number.NaN, applied: false });
    expect([parameters.values, step.optimizer.m, step.optimizer.v].map(referenceValues)).toEqual(before);
    expect(step.optimizer.counters).toEqual(counters);
  });
});
