import { expect, it } from "vitest";
import { parseModelConfig } from "../gpt/config.ts";
import { Gpt } from "../gpt/model.ts";
import { ModelParameters } from "../gpt/parameters.ts";
import { openReferenceDevice, referenceValues } from "../reference/device.ts";
import { evaluate } from "./evaluate.ts";

it("evaluate is the mean over all tokens that have a target, and shows the losses of each batch", async () => {
  const config = parseModelConfig({ layers: 1, heads: 1, width: 16, vocabulary: 7, context: 4 });
  const parameters = new ModelParameters(openReferenceDevice(), config);
  parameters.initialize();
  const model = new Gpt(parameters, { batch: 1, training: false });
  // One target in the first batch, four in the second.
  const targets = [
    [-1, 5, -1, -1],
    [1, 2, 3, 4],
  ];
  const validation = {
    name: "made up",
    vocabularySize: 7,
    windows: () => 2,
    sample: () => Promise.reject(new Error("evaluation samples nothing")),
    sequential: async ({ index }: { index: number }) => ({
      tokens: Int32Array.of(0, 1, 2, index),
      targets: Int32Array.from(targets[index]!),
    }),
  };
  const losses: number[] = [];
  const onBatch = async (batch: { targets: Int32Array }) => {
    losses.push(...referenceValues(model.losses).filter((_, i) => batch.targets[i] !== -1));
  };
  const mean = await evaluate(model, { validation }, { batches: 2, onBatch });
  expect(losses.length).toBe(5);
  expect(mean).toBeCloseTo(losses.reduce((sum, loss) => sum + loss, 0) / 5, 6);
});
