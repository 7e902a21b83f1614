import { describe, expect, it } from "vitest";
import { openReferenceDevice, referenceValues } from "../reference/device.ts";
import { uniformAt } from "../rng.ts";
import { type ModelOptions, parseModelConfig } from "./config.ts";
import { Gpt } from "./model.ts";
import { ModelParameters } from "./parameters.ts";
import { Decoder, generate, sampleToken } from "./sampling.ts";

const tiny = { layers: 2, heads: 2, width: 32, vocabulary: 13, context: 12, seed: 5 };

function parametersFor(options: Partial<ModelOptions>): ModelParameters {
  const parameters = new ModelParameters(openReferenceDevice(), parseModelConfig({ ...tiny, ...options }));
  parameters.initialize();
  return parameters;
}

async function collect(tokens: AsyncIterable<number>): Promise<number[]> {
  const all: number[] = [];
  for await (const token of tokens) all.push(token);
  return all;
}

const tokens = Int32Array.from({ length: 12 }, (_, i) => Math.floor(13 * uniformAt(2, 0, i)));

describe("Decoder", () => {
  it.each([
    {},
    { positions: "rope" as const, kvHeads: 1, biases: true },
    { attention: "window(3):1 hash(2):1" },
    { attention: "hash(4, diagonal=false)", sharedQK: true },
    { attention: "union(window(2), hash(2))", positions: "rope" as const, sharedQK: true },
    { attention: "hash(4, balanced=true)" },
    { attention: "window(3):1 hash(2):1", positions: "rope-windows" as const },
    { attention: "hash(4)", positions: "rope-scores" as const },
    { attention: "window(3):1 union(window(2), hash(2)):1", positions: "rope-scores" as const, kvHeads: 1 },
    { attention: "hash(4, balanced=true)", positions: "rope-scores" as const, sharedQK: true },
    { attention: "window(2):1 union(window(2), hash(4, balanced=true)):1", kvHeads: 1 },
    { attention: "hash(4, diagonal=false, balanced=true)", sharedQK: true },
    { attention: "drop(0.4)" },
    { attention: "hash(2)", documentEnd: tokens[4]! },
  ])("gives a growing sequence the scores that the whole one has: %j", async (options) => {
    const parameters = parametersFor(options);
    const draw = { seed: 9, index: 0 };
    const targets = Int32Array.from(tokens, (_, i) => tokens[i + 1] ?? -1);
    const model = new Gpt(parameters, { batch: 1, training: false });
    await model.evaluate({ tokens, targets }, { draw });
    const expected = referenceValues(model.losses);

    const decoder = new Decoder(parameters, { draw });
    let next = 0;
    for (const count of [3, 1, 1, 4, 1, 1]) {
      const logits = Float64Array.from(await decoder.push(tokens.subarray(next, next + count)));
      next += count;
      const largest = Math.max(...logits);
      const logSum = largest + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - largest), 0));
      expect(logSum - logits[tokens[next]!]!).toBeCloseTo(expected[next - 1]!, 5);
    }
    decoder.dispose();
    model.dispose();
  });

  it("refuses more tokens than the context has room for", async () => {
    const decoder = new Decoder(parametersFor({}), { draw: { seed: 1, index: 0 } });
    await decoder.push(tokens);
    await expect(decoder.push([1])).rejects.toThrow("sample: there are 1 to 0 tokens to read, got 1.");
  });

  it("gives back all memory", async () => {
    const parameters = parametersFor({ attention: "hash(2)" });
    const before = parameters.device.memory.bytes;
    await collect(generate(parameters, [1], { count: 3 }));
    expect(parameters.device.memory.bytes).toBe(before);
  });
});

describe("generate", () => {
  it("goes on past the context, the same for the same seed and not for another", async () => {
    const parameters = parametersFor({ attention: "window(3):1 hash(2):1" });
    const run = (seed: number) => collect(generate(parameters, [1, 2, 3], { count: 30, seed }));
    const first = await run(1);
    expect(first).toHaveLength(30);
    expect(await run(1)).toEqual(first);
    expect(await run(2)).not.toEqual(first);
  });

  it("reads only the end of a prompt that is longer than the context", async () => {
    const parameters = parametersFor({});
    const long = [7, 7, 7, ...tokens];
    const options = { count: 3, temperature: 0 };
    expect(await collect(generate(parameters, long, options))).toEqual(
      await collect(generate(parameters, tokens, options)),
    );
  });

  it("refuses an empty prompt", async () => {
    await expect(collect(generate(parametersFor({}), [], { count: 1 }))).rejects.toThrow("got 0");
  });
});

describe("sampleToken", () => {
  const logits = Float32Array.of(0, 3, Number.NaN, 2, 1);

  it("takes the likeliest at temperature 0, whatever the draw", () => {
    expect(sampleToken(logits, { temperature: 0 }, 0.999)).toBe(1);
  });

  it("picks in proportion to the softmax of the candidates", () => {
    const counts = new Map<number, number>();
    const draws = 2000;
    for (let n = 0; n < draws; n++) {
      const token = sampleToken(logits, { topK: 2, temperature: 0.5 }, (n + 0.5) / draws);
      counts.set(token, (counts.get(token) ?? 0) + 1 / draws);
    }
    expect([...counts.keys()].sort()).toEqual([1, 3]);
    expect(counts.get(1)).toBeCloseTo(1 / (1 + Math.exp(-2)), 2);
  });

  it("never picks tokens from the limit on", () => {
    expect(sampleToken(logits, { tokenLimit: 1 }, 0.7)).toBe(0);
  });

  it.each([
    [{ temperature: -1 }, "the temperature is 0 or more"],
    [{ topK: 0 }, "topK is at least 1"],
    [{ tokenLimit: 0 }, "some token has a finite score"],
  ])("refuses %j", (options, message) => {
    expect(() => sampleToken(logits, options, 0.5)).toThrow(message);
  });
});
