import { expect, test } from "vitest";
import { openReferenceDevice } from "../reference/device.ts";
import { parseModelConfig } from "./config.ts";
import { Gpt } from "./model.ts";
import { ModelParameters } from "./parameters.ts";

const T = 13;
const config = parseModelConfig({
  layers: 2,
  heads: 4,
  kvHeads: 2,
  width: 64,
  vocabulary: 7,
  context: T,
  attention: "window(3):2 hash(4):1 union(window(2), hash(2)):1",
});

async function modelAfterPass(training: boolean) {
  const parameters = new ModelParameters(openReferenceDevice(), config);
  parameters.initialize();
  const model = new Gpt(parameters, { batch: 2, training });
  const tokens = Int32Array.from({ length: 2 * T }, (_, i) => (i * i + 3 * i) % 7);
  await model.evaluate({ tokens, targets: tokens }, { draw: { seed: 1, index: 0 } });
  return model;
}

test("attention weights are 0 beyond what is visible, and a row adds up to 1, or to 0 where nothing is visible", async () => {
  const model = await modelAfterPass(true);
  for (const [layer, b] of [
    [0, 0],
    [1, 1],
  ] as const) {
    const { heads, weights } = await model.attentionWeights(layer, { b });
    expect([heads, weights.length]).toEqual([4, 4 * T * T]);
    const visible = new Set<string>();
    for (const head of (await model.plan(layer)).parts.flatMap((part) => part.heads)) {
      if (head.b !== b) continue;
      for (let n = 0; n < T; n++) {
        for (let m = head.lo[n]!; m < head.hi[n]!; m++) visible.add([head.h, head.qRows[n], head.kRows[m]].join());
      }
    }
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < T; i++) {
        const row = weights.subarray((h * T + i) * T, (h * T + i + 1) * T);
        const seesKeys = row.some((_, j) => visible.has([h, i, j].join()));
        expect(row.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(seesKeys ? 1 : 0, 5);
        for (const [j, weight] of row.entries()) expect(weight > 0).toBe(visible.has([h, i, j].join()));
      }
    }
  }
});

test("a model that keeps no activations says so", async () => {
  const model = await modelAfterPass(false);
  expect(() => model.attentionWeights(0)).toThrow(/the model must keep its activations/);
});
