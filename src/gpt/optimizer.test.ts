import { describe, expect, it } from "vitest";
import { openReferenceDevice, referenceValues } from "../reference/device.ts";
import type { FloatType } from "../tensor.ts";
import { parseModelConfig } from "./config.ts";
import { AdamW, type AdamWOptions } from "./optimizer.ts";
import { ModelParameters } from "./parameters.ts";

const config = parseModelConfig({ layers: 1, heads: 2, width: 32, vocabulary: 9, context: 8, biases: true });
const options: AdamWOptions = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: Infinity };

function setUp({ dtype = "f32", ...rest }: Partial<AdamWOptions> & { dtype?: FloatType } = {}) {
  const parameters = new ModelParameters(openReferenceDevice(), config, dtype);
  parameters.initialize();
  const optimizer = new AdamW(parameters, { ...options, ...rest });
  const setGradient = (value: number) => parameters.device.ops.fill({ out: optimizer.gradients, value });
  return { parameters, optimizer, setGradient };
}

describe("ModelParameters", () => {
  it("begins as GPT-2 does: normal weights, narrower at the end of a residual branch, ones, zeros", () => {
    const { parameters } = setUp();
    const values = referenceValues(parameters.values);
    const of = (name: string) => {
      const { offset, size } = parameters.layout.specs.find((spec) => spec.name === name)!;
      return values.subarray(offset, offset + size);
    };
    const std = (x: Float64Array) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length);
    expect(std(of("blocks.0.up.weight"))).toBeCloseTo(0.02, 3);
    expect(std(of("blocks.0.down.weight"))).toBeCloseTo(0.02 / Math.SQRT2, 3);
    expect(new Set(of("blocks.0.norm1.weight"))).toEqual(new Set([1]));
    expect(new Set(of("blocks.0.qkv.bias"))).toEqual(new Set([0]));
  });
});

describe("AdamW", () => {
  it("moves every parameter by the learning rate at first, and decays matrices and tables only", async () => {
    const { parameters, optimizer, setGradient } = setUp();
    const before = referenceValues(parameters.values);
    setGradient(3);
    await optimizer.update({ lr: 0.01 });
    const after = referenceValues(parameters.values);
    for (const { offset, size, shape, name } of parameters.layout.specs) {
      for (let i = offset; i < offset + size; i++) {
        const decayed = shape.length === 2 ? before[i]! * (1 - 0.01 * 0.1) : before[i]!;
        expect(Math.abs(after[i]! - (decayed - 0.01)), name).toBeLessThan(1e-9);
      }
    }
  });

  it("clips by the length of the whole gradient and tells that length", async () => {
    const { parameters, optimizer, setGradient } = setUp({ maxNorm: 0.5 });
    setGradient(2);
    const { gradNorm } = await optimizer.update({ lr: 0.01 });
    expect(gradNorm).toBeCloseTo(2 * Math.sqrt(parameters.layout.size), 3);
    const expected = (0.1 * 2 * 0.5) / gradNorm;
    expect(referenceValues(optimizer.m)[0]).toBeCloseTo(expected, 10);
  });

  it("leaves everything as it was when the gradient is not finite", async () => {
    const { parameters, optimizer, setGradient } = setUp();
    const before = referenceValues(parameters.values);
    setGradient(Number.NaN);
    expect(await optimizer.update({ lr: 0.01 })).toMatchObject({ applied: false });
    expect(referenceValues(parameters.values)).toEqual(before);
    expect(optimizer.counters).toEqual({ updates: 0, lossScale: 1, updatesAtScale: 0 });
  });

  it("with f16 gradients halves the loss scale at an overflow, and doubles it after 1000 updates without", async () => {
    const { optimizer, setGradient } = setUp({ dtype: "f16" });
    expect(optimizer.counters.lossScale).toBe(2 ** 16);
    setGradient(Number.POSITIVE_INFINITY);
    expect(await optimizer.update({ lr: 0 })).toMatchObject({ applied: false });
    expect(optimizer.counters).toEqual({ updates: 0, lossScale: 2 ** 15, updatesAtScale: 0 });
    optimizer.counters.updatesAtScale = 999;
    setGradient(2 ** 15);
    const { gradNorm, applied } = await optimizer.update({ lr: 0 });
    expect(applied).toBe(true);
    expect(gradNorm).toBeCloseTo(Math.sqrt(referenceValues(optimizer.gradients).length), 3);
    expect(optimizer.counters).toEqual({ updates: 1, lossScale: 2 ** 16, updatesAtScale: 0 });
  });

  it("knows whether parameters and moments are finite", async () => {
    const { parameters, optimizer } = setUp();
    expect(await optimizer.isFinite()).toBe(true);
    parameters.views(optimizer.v)("norm.bias").write(new Float32Array(32).fill(Number.NaN));
    expect(await optimizer.isFinite()).toBe(false);
  });
});
