import { describe, expect, it, vi } from "vitest";
import { openReferenceDevice, referenceValues, setReferenceValues } from "../reference/device.ts";
import { uniformAt } from "../rng.ts";
import { type ModelOptions, parseModelConfig } from "./config.ts";
import { Gpt } from "./model.ts";
import { AdamW } from "./optimizer.ts";
import { ModelParameters } from "./parameters.ts";
import type { Batch } from "./passInputs.ts";

const tiny = { layers: 2, heads: 2, width: 32, vocabulary: 11, context: 9, seed: 3 };

const models: Record<string, Partial<ModelOptions>> = {
  "GPT-2: learned positions, biases, dense": { biases: true },
  "RoPE, no biases": { positions: "rope" },
  "grouped key heads with RoPE and biases": { kvHeads: 1, positions: "rope", biases: true },
  "shared queries and keys": { sharedQK: true, biases: true },
  "shared queries and keys with RoPE": { sharedQK: true, positions: "rope" },
  "RoPE in the heads that see a window": { positions: "rope-windows", attention: ["window(3):1 dense:1", "window(2)"] },
  "RoPE in the scores": { positions: "rope-scores", attention: "window(3):1 hash(2):1" },
  "shared queries and keys with RoPE in the scores": { positions: "rope-scores", attention: "hash(2)", sharedQK: true },
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

describe("what a token's loss depends on", () => {
  const draw = { seed: 1, index: 0 };
  async function lossesOf(model: Gpt, batch: Batch, at = draw): Promise<Float64Array> {
    await model.evaluate(batch, { draw: at });
    return referenceValues(model.losses);
  }

  it.each(["dense", "window(3):1 hash(2):1", "union(window(2), hash(2))", "drop(0.4)"])(
    "never a later token: %s",
    async (attention) => {
      const { config, model } = build({ attention });
      const batch = batchFor(config.context, config.vocabulary);
      const before = await lossesOf(model, batch);
      batch.tokens[5] = (batch.tokens[5]! + 1) % config.vocabulary;
      const after = await lossesOf(model, batch);
      expect(after.slice(0, 5)).toEqual(before.slice(0, 5));
      expect(after[5]).not.toBe(before[5]);
      expect(after.slice(config.context)).toEqual(before.slice(config.context));
    },
  );

  it.each(["dense", "window(4):1 hash(2):1"])("never another document: %s", async (attention) => {
    const { config, model } = build({ attention, documentEnd: 4 });
    const batch = batchFor(config.context, config.vocabulary);
    batch.tokens.set([1, 2, 4, 3, 3, 5, 6, 7, 8]);
    const before = await lossesOf(model, batch);
    batch.tokens.set([9, 0, 4]);
    const after = await lossesOf(model, batch);
    expect(after.slice(3)).toEqual(before.slice(3));
    expect(after[2]).not.toBe(before[2]);
  });

  it("the draw, where rotations are redrawn, and not where they are fixed", async () => {
    const next = { ...draw, index: 1 };
    for (const rotations of ["redrawn", "fixed"] as const) {
      const { config, model } = build({ attention: "hash(4)", rotations });
      const batch = batchFor(config.context, config.vocabulary);
      const first = await lossesOf(model, batch);
      const second = await lossesOf(model, batch, next);
      const again = await lossesOf(model, batch);
      expect(again).toEqual(first);
      if (rotations === "fixed") expect(second).toEqual(first);
      else expect(second).not.toEqual(first);
    }
  });

  it("not what was computed before it", async () => {
    const { config, model, gradient } = build({ attention: "hash(4):1 drop(0.5):1", kvHeads: 1, positions: "rope" });
    const batch = batchFor(config.context, config.vocabulary);
    const next = { ...draw, index: 1 };
    const expected = await lossesOf(model, batch, next);
    await model.accumulate(batch, { draw, gradients: model.gradientTensors(gradient), scale: 1 });
    expect(await lossesOf(model, batch, next)).toEqual(expected);
  });
});

describe.each([{ sharedQK: false }, { sharedQK: true }])("RoPE in the scores, %j", (keys) => {
  /** Of one layer: a second one would hash what the first one's scores make of its rows. */
  async function passOf(options: Partial<ModelOptions>) {
    const { config, model } = build({ layers: 1, ...keys, ...options });
    const batch = batchFor(config.context, config.vocabulary);
    await model.evaluate(batch, { draw: { seed: 1, index: 0 } });
    return { losses: referenceValues(model.losses), share: await model.visibleShare() };
  }

  it("shows hashing heads what they see where they are not turned, but scores it by position too", async () => {
    const attention = "hash(4)";
    const unturned = await passOf({ positions: "rope-windows", attention });
    const scores = await passOf({ positions: "rope-scores", attention });
    expect(scores.share).toBe(unturned.share);
    expect((await passOf({ positions: "rope", attention })).share).not.toBe(unturned.share);
    expect(scores.losses).not.toEqual(unturned.losses);
  });

  it("is RoPE where nothing is hashed", async () => {
    const attention = "window(3):1 dense:1";
    const { losses } = await passOf({ positions: "rope", attention });
    expect((await passOf({ positions: "rope-scores", attention })).losses).toEqual(losses);
  });
});

describe("Gpt", () => {
  it("tells the share of pairs that a pattern shows", async () => {
    const { config, model } = build({ attention: ["window(3)", "dense"] });
    await model.evaluate(batchFor(config.context, config.vocabulary), { draw: { seed: 1, index: 0 } });
    // 9 rows: a window of 3 shows 1 + 2 + 7 * 3 of the 45 pairs.
    expect(await model.visibleShare()).toBeCloseTo((24 / 45 + 1) / 2, 12);
  });

  it("gives the logits of rows that its losses were of, however few fit its buffer", async () => {
    const { config, parameters } = build({});
    const model = new Gpt(parameters, { batch: 2, logitsBytes: 1 });
    const batch = batchFor(config.context, config.vocabulary);
    await model.evaluate(batch, { draw: { seed: 1, index: 0 } });
    const V = config.vocabulary;
    const logits = await model.logits({ first: 5, count: 6 });
    expect(logits.length).toBe(6 * V);
    for (let row = 5; row < 11; row++) {
      const own = [...logits.subarray((row - 5) * V, (row - 4) * V)];
      const sum = own.reduce((total, logit) => total + Math.exp(logit), 0);
      expect(Math.log(sum) - own[batch.targets[row]!]!).toBeCloseTo(referenceValues(model.losses)[row]!, 5);
    }
  });

  it("does the same in chunks of one row of logits as in one piece", async () => {
    const { config, parameters, model, gradient } = build({ biases: true });
    const batch = batchFor(config.context, config.vocabulary);
    const draw = { seed: 1, index: 0 };
    const loss = await model.accumulate(batch, { draw, gradients: model.gradientTensors(gradient), scale: 1 });
    const chunked = new Gpt(parameters, { batch: 2, logitsBytes: 1 });
    const chunkedGradient = parameters.device.zeros([parameters.layout.size]);
    const gradients = chunked.gradientTensors(chunkedGradient);
    expect(await chunked.accumulate(batch, { draw, gradients, scale: 1 })).toBe(loss);
    const [whole, pieces] = [referenceValues(gradient), referenceValues(chunkedGradient)];
    for (const [i, g] of whole.entries()) expect(Math.abs(g - pieces[i]!)).toBeLessThan(1e-12);
  });

  it("allocates nothing in a step", async () => {
    const { config, device, parameters, model } = build({ attention: "union(window(2), hash(2)):1 drop(0.5):1" });
    const optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, maxNorm: 1 });
    const gradients = model.gradientTensors(optimizer.gradients);
    const batch = batchFor(config.context, config.vocabulary);
    const empty = vi.spyOn(device, "empty");
    optimizer.begin();
    await model.accumulate(batch, { draw: { seed: 1, index: 0 }, gradients, scale: 1 });
    await optimizer.update({ lr: 0.1 });
    expect(empty).not.toHaveBeenCalled();
  });

  it("gives back all memory but the parameters'", () => {
    const { device, parameters, model, gradient } = build({ attention: "hash(2):1 window(4):1", documentEnd: 1 });
    model.dispose();
    gradient.dispose();
    parameters.dispose();
    expect(device.memory.bytes).toBe(0);
  });

  it("refuses sequences longer than the model's context", () => {
    const { parameters } = build({});
    expect(() => new Gpt(parameters, { batch: 1, context: 10 })).toThrow(
      "gpt: sequences have 1 to 9 tokens, the model's context, got T=10.",
    );
  });
});
