import { describe, expect, test } from "vitest";
import type { Run } from "./run.ts";
import { median, summarise } from "./summary.ts";

function run(
  name: string,
  { speed, loss, attention = name }: { speed: number; loss: number; attention?: string },
): Run {
  const metrics = Array.from({ length: 40 }, (_, i) => ({
    step: i + 1,
    tokens: (i + 1) * 1000,
    loss: loss + (40 - i - 1) * 0.1,
    tokensPerS: speed,
    elapsedMs: ((i + 1) * 1000 * 1000) / speed,
    visibleShare: 0.5,
    ...(i === 39 ? { valLoss: loss + 0.01 } : {}),
  }));
  return { name, config: {}, metrics, details: { attention, tokenizer: "bytes" }, notes: [] };
}

describe("summarise", () => {
  test("speed-up is the ratio to the dense run's median tokens/s", () => {
    const { runs } = summarise([run("dense", { speed: 1000, loss: 2 }), run("hash(16)", { speed: 3500, loss: 2 })]);
    expect(runs.map((r) => r.speedUp)).toEqual([undefined, 3.5]);
  });

  test("the final training loss is the mean of the last 5% of the steps", () => {
    const [only] = summarise([run("dense", { speed: 1, loss: 2 })]).runs;
    expect(only!.trainLossSteps).toBe(2);
    expect(only!.trainLoss).toBeCloseTo(2.05, 12);
  });

  test("bytes are judged in bits per byte, other tokens by perplexity", () => {
    const bytes = run("dense", { speed: 1, loss: 2 });
    const words = { ...bytes, details: { attention: "dense" } };
    expect(summarise([bytes]).runs[0]!.quality).toEqual({ kind: "bits per byte", value: 2.01 / Math.LN2 });
    expect(summarise([words]).runs[0]!.quality).toEqual({ kind: "perplexity", value: Math.exp(2.01) });
  });

  test("a sparse run that is slower or worse is called so", () => {
    const [sentence] = summarise([
      run("dense", { speed: 1000, loss: 2 }),
      run("hash(16)", { speed: 900, loss: 2.2 }),
    ]).sentences;
    expect(sentence).toContain("was not faster");
    expect(sentence).toContain("0.200 nats higher: worse");
  });

  test("a sparse run that is faster and better is called so, with the dense run's loss at its end", () => {
    const [sentence] = summarise([
      run("dense", { speed: 1000, loss: 2 }),
      run("hash(16)", { speed: 4000, loss: 1.9 }),
    ]).sentences;
    expect(sentence).toContain("4.00 times as fast");
    expect(sentence).toContain("0.100 nats lower: better");
    // A quarter of the way dense stands at step 10; its mean over two steps there is 2 + 30.5 * 0.1.
    expect(sentence).toContain("dense stood at a training loss of 5.050");
  });

  test("losses after different numbers of tokens are not compared", () => {
    const short = run("hash(16)", { speed: 4000, loss: 1.9 });
    const { sentences } = summarise([
      run("dense", { speed: 1000, loss: 2 }),
      { ...short, metrics: short.metrics.slice(0, 20) },
    ]);
    expect(sentences.join()).not.toContain("same tokens");
  });

  test("without exactly one dense run nothing is compared", () => {
    expect(summarise([run("hash(16)", { speed: 1, loss: 2 })]).sentences).toEqual([]);
    const two = [
      run("a", { speed: 1, loss: 2, attention: "dense" }),
      run("b", { speed: 2, loss: 2, attention: "dense" }),
    ];
    expect(summarise(two).runs.map((r) => r.speedUp)).toEqual([undefined, undefined]);
  });

  test("a mix of dense and other heads is not the dense run", () => {
    expect(summarise([run("x", { speed: 1, loss: 2, attention: "dense:2 window(8):2" })]).runs[0]!.isDense).toBe(false);
  });

  test("a run without a step has no numbers", () => {
    const [only] = summarise([{ name: "new", config: {}, metrics: [], details: {}, notes: [] }]).runs;
    expect(only).toMatchObject({ steps: 0, trainLoss: undefined, tokensPerS: undefined, quality: undefined });
  });
});

test("the median of an even count is the mean of the middle two", () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([5, 1, 3])).toBe(3);
  expect(median([])).toBeUndefined();
});
