import { expect, test } from "vitest";
import { parseModelConfig } from "../gpt/config.ts";
import { checkConfig, configOfPreset, mergeConfigs, presetNames } from "./trainConfig.ts";

const data = { folder: "data", tokenizer: "gpt2" };
const vocabulary = { model: { vocabulary: 50304 }, train: {}, data: {} };

test.each(presetNames)("the preset %s is a whole configuration", (name) => {
  const { model } = checkConfig(mergeConfigs(vocabulary, configOfPreset(name)), data);
  expect(parseModelConfig(model)).toEqual(model);
});

test.each([
  ["paper-8k", 8192, 64],
  ["paper-16k", 16384, 30],
])("%s trains the paper's model on sequences of %i tokens, %i a step", (name, context, sequences) => {
  const { model, train } = checkConfig(mergeConfigs(vocabulary, configOfPreset(name)), data);
  expect(model).toMatchObject({ layers: 12, heads: 12, width: 768, context, sharedQK: true });
  expect(train.batch * train.accumulate).toBe(sequences);
});
