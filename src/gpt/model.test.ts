import { describe, expect, it } from "vitest";
import { openReferenceDevice, referenceValues, setReferenceValues } from "../reference/device.ts";
import { uniformAt } from "../rng.ts";
import { type ModelOptions, parseModelConfig } from "./config.ts";
import { type Batch, Gpt } from "./model.ts";
import { ModelParameters } from "./parameters.ts";

const tiny = { layers: 2, heads: 2, width: 32, vocabulary: 11, context: 9, seed: 3 };

const models: Record<string, Partial<ModelOptions>> = {
  "GPT-2: learned positions, biases, dense": { biases: true },
  "RoPE, no biases": { positions: "rope" },
  "grouped key heads with RoPE and biases": { kvHeads: 1, positions: "rope", biases: true },
  "shared queries and keys": { sharedQK: true, biases: true },
  "shared queries and keys with RoPE": { sharedQK: true, positions: "rope" },
  "a window in one layer, dense in the next": { attention: ["window(3)", "dense"] },
  "hash in every head": { attention: "hash(4)", rotations: "fixed" },
  "hash without the diagonal, keys shared": {
    attention: "hash(4, diagonal=false)",
    sharedQK: true,
    rotations: "fixed",
  },
  "half window, half hash, keys shared": { attention: "window(3):1 hash(2):1", sharedQK: true },
  "hash over grouped key heads": { attention: "hash(2)", kvHeads: 1 },
  "hash beyond a window": { attention: "union(window(2), hash(2))" },
  "dropped queries and keys": { attention: "drop(0.4)" },
  documents: { documentEnd: 4, attention: "hash(2):1 dense:1" },
};

function build(options: Partial<ModelOptions>) {
  const device = openReferenceDevice();
  const config = parseModelConfig({ ...tiny, ...options });
  const parameters = new ModelParameters(device, config);
  parameters.initialize();
  // Larger than a model begins with, so that every path carries a gradient that differences can see.
  const values = referenceValues(parameters.values);
  for (const { offset, size } of parameters.layout.specs) {
    for (let i = offset; i < offset + size; i++) values[i] = values[i]! * 4 + 0.3 * (uniformAt(7, 0, i) - 0.5);
  }
  setReferenceValues(parameters.values, values);
  const model = new Gpt(parameters, { batch: 2 });
  const gradient = device.zeros([parameters.layout.size]);
  return { device, config, parameters, model, gradient };
}

function batchFor(T: number, vocabulary: number): Batch {
  const draw = (stream: number) =>
    Int32Array.from({ length: 2 * T }, (_, i) => Math.floor(vocabulary * uniformAt(5, stream, i)));
  const targets = draw(1);
  targets[3] = -1;
  return { tokens: draw(0), targets };
}

function countedTargets({ targets }: Batch): number {
  return targets.filter((target) => target !== -1).length;
}

describe("the whole model's gradient", () => {
  it.each(Object.entries(models))("agrees with finite differences: %s", async (_, options) => {
    const { config, parameters, model, gradient } = build(options);
    const batch = batchFor(config.context, config.vocabulary);
    const draw = { seed: 1, index: 0 };
    await model.accumulate(batch, { draw, gradients: model.gradientTensors(gradient), scale: 1 });
    const analytic = referenceValues(gradient);
    const values = referenceValues(parameters.values);
    const lossAlong = async (direction: Float64Array, offset: number, step: number) => {
      const moved = values.slice();
      for (const [i, d] of direction.entries()) moved[offset + i] += step * d;
      setReferenceValues(parameters.values, moved);
      await model.evaluate(batch, { draw });
      // In float64: the mean that \`evaluate\` returns has passed through float32.
      return referenceValues(model.losses).reduce((sum, loss) => sum + loss, 0) / countedTargets(batch);
    };
    for (const { name, offset, size } of parameters.layout.specs) {
      // A random direction through all elements of the parameter, so that each of them counts.
      const direction = Float64Array.from({ length: size }, (_, i) => uniformAt(11, offset, i) - 0.5);
      const expected = direction.reduce((sum, d, i) => sum + d * analytic[offset + i], 0);
      const step = 1e-6;
      const up = await lossAlong(direction, offset, step);
      const down = await lossAlong(direction, offset, -step);
      const numeric = (up - down) / (2 * step);
      expect(Math.abs(numeric - expected), `${name}: ${numeric} by differences, ${expected}`).toBeLessThan(1e-7);
      expect(Math.abs(expected), `${name} has a gradient to compare`).toBeGreaterThan(1e-5);
    }
  });
});
