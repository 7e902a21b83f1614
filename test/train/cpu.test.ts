import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CpuDevice, openCpuDevice } from "../../src/device/cpu/index.ts";
import type { Device } from "../../src/device/device.ts";
import { parseModelConfig } from "../../src/gpt/config.ts";
import { Gpt } from "../../src/gpt/model.ts";
import { ModelParameters } from "../../src/gpt/parameters.ts";
import { generate } from "../../src/gpt/sampling.ts";
import { openReferenceDevice } from "../../src/reference/device.ts";
import { uniformAt } from "../../src/rng.ts";
import { train } from "../../src/train/loop.ts";
import { readMetrics } from "../../src/train/metrics.ts";
import { createRun, type Run } from "../../src/train/run.ts";
import { tinyConfig, tinyData } from "./fixture.ts";

let folder: string;
let one: CpuDevice;
let two: CpuDevice;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "scfa-cpu-"));
  one = await openCpuDevice({ threads: 1 });
  two = await openCpuDevice({ threads: 2 });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  one.dispose();
  two.dispose();
});

const T = 37;
const V = 19;
const batch = {
  tokens: Int32Array.from({ length: 2 * T }, (_, i) => Math.floor(V * uniformAt(1, 0, i))),
  targets: Int32Array.from({ length: 2 * T }, (_, i) => Math.floor(V * uniformAt(1, 1, i))),
};

/** The loss, and the gradient of all parameters. */
async function lossAndGradient(device: Device, options: object): Promise<{ loss: number; gradient: Float32Array }> {
  const shape = { layers: 2, heads: 4, width: 64, vocabulary: V, context: T };
  const parameters = new ModelParameters(device, parseModelConfig({ ...shape, ...options }));
  parameters.initialize();
  const model = new Gpt(parameters, { batch: 2 });
  const flat = device.zeros([parameters.layout.size]);
  const gradients = model.gradientTensors(flat);
  const loss = await model.accumulate(batch, { draw: { seed: 1, index: 0 }, gradients, scale: 1 });
  const gradient = (await flat.read()) as Float32Array;
  for (const thing of [model, flat, parameters]) thing.dispose();
  return { loss, gradient };
}

const worst = (x: Float32Array, y: Float32Array) => x.reduce((most, v, i) => Math.max(most, Math.abs(v - y[i]!)), 0);

describe("training on the CPU device", () => {
  it.each([
    { biases: true },
    { positions: "rope", kvHeads: 2 },
    { positions: "rope-scores", kvHeads: 2, attention: "window(8):2 hash(4):2" },
    { sharedQK: true, attention: "window(8):2 hash(4, diagonal=false):2" },
    { attention: ["union(window(5), hash(4))", "drop(0.4)"], documentEnd: 3 },
  ])("gives the reference's loss and gradient within the error budget: %j", async (options) => {
    const exact = await lossAndGradient(openReferenceDevice(), options);
    const plain = await lossAndGradient(openReferenceDevice({ precision: "f32" }), options);
    const ours = await lossAndGradient(two, options);
    const largest = exact.gradient.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    const budget = 2 * worst(plain.gradient, exact.gradient) + 1e-6 * largest;
    expect(worst(ours.gradient, exact.gradient)).toBeLessThanOrEqual(budget);
    expect(Math.abs(ours.loss - exact.loss)).toBeLessThanOrEqual(
      2 * Math.abs(plain.loss - exact.loss) + 1e-6 * exact.loss,
    );
  });

  it("resumes bit for bit, with another number of threads too", async () => {
    const config = tinyConfig({ model: { attention: "drop(0.3):1 hash(2):1" }, train: { accumulate: 2 } });
    const data = tinyData();
    const straight = await createRun(join(folder, "straight"), config);
    await train({ run: straight, device: two, data });
    const resumed = await createRun(join(folder, "resumed"), config);
    const abort = new AbortController();
    const signal = abort.signal;
    await train({
      run: resumed,
      device: two,
      data,
      signal,
      onEvent: (event) => event.type === "step" && event.metric.step === 5 && abort.abort(),
    });
    await train({ run: resumed, device: one, data });
    const losses = (run: Run) =>
      readMetrics(run.metricsPath).map(({ loss, valLoss, gradNorm }) => [loss, valLoss, gradNorm]);
    expect(losses(resumed)).toEqual(losses(straight));
    const bytes = (run: Run) => readFileSync(join(run.checkpoints, "step-00000012", "model.safetensors"));
    expect(bytes(resumed).equals(bytes(straight))).toBe(true);
  });

  it("samples", async () => {
    const parameters = new ModelParameters(two, tinyConfig().model);
    parameters.initialize();
    const made: number[] = [];
    for await (const token of generate(parameters, [1, 2, 3], { count: 40 })) made.push(token);
    expect(made).toHaveLength(40);
    expect(Math.max(...made)).toBeLessThan(28);
    parameters.dispose();
  });
});
