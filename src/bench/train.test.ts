import { expect, test } from "vitest";
import { openCpuDevice } from "../device/cpu/index.ts";
import { parseModelConfig } from "../gpt/config.ts";
import { drawBatch, readBatch } from "./tokens.ts";
import { benchTrain } from "./train.ts";

const size = { batch: 2, context: 512 };
const base = { layers: 2, heads: 2, width: 64, vocabulary: 1024, context: size.context, sharedQK: true };

test("a hash model goes on seeing about the share of pairs that its buckets make, for its weights stay", async () => {
  const device = await openCpuDevice({ threads: 1 });
  const models = ["hash(16)", "dense"].map((attention) => ({
    attention,
    config: parseModelConfig({ ...base, attention }),
  }));
  const [hash, dense] = await benchTrain({ device, models, batch: size.batch, rounds: 10 });
  device.dispose();
  expect(dense!.visibleShare).toBe(1);
  // A pair shares one of 16 buckets, some vectors are alike, and every query sees itself.
  expect(hash!.visibleShare).toBeGreaterThan(1 / 16);
  expect(hash!.visibleShare).toBeLessThan(1.5 / 16);
});

test("drawn batches cover the vocabulary evenly, differ, and each target is the next token", () => {
  const vocabulary = 1000;
  const batches = [0, 1].map((index) => drawBatch(index, { batch: 8, context: 8192, vocabulary }));
  const counts = new Map<number, number>();
  for (const { tokens } of batches) for (const token of tokens) counts.set(token, (counts.get(token) ?? 0) + 1);
  const total = 2 * 8 * 8192;
  const expected = total / vocabulary;
  for (const count of counts.values()) expect(Math.abs(count - expected)).toBeLessThan(6 * Math.sqrt(expected));
  expect([...counts.keys()].sort((a, b) => a - b)).toEqual(Array.from({ length: vocabulary }, (_, n) => n));
  const [first, second] = batches;
  expect(first!.tokens).not.toEqual(second!.tokens);
  expect(first!.targets.slice(0, -1)).toEqual(first!.tokens.slice(1));
  expect(first!.targets.at(-1)).toBe(second!.tokens[0]);
});

test("batches of a text follow one another and begin anew at its end", () => {
  const text = Int32Array.from({ length: 11 }, (_, n) => n);
  const read = (index: number) => [...readBatch(index, { batch: 2, context: 2, text }).tokens];
  expect([0, 1, 2].map(read)).toEqual([
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [1, 2, 3, 4],
  ]);
  expect([...readBatch(1, { batch: 2, context: 2, text }).targets]).toEqual([5, 6, 7, 8]);
});
