import { expect, test } from "vitest";
import { decodeSafetensors, encodeSafetensors } from "../data/safetensors.ts";
import { openReferenceDevice } from "../reference/device.ts";
import { parseModelConfig } from "./config.ts";
import { decodeModel, encodeModel } from "./modelFile.ts";
import { ModelParameters } from "./parameters.ts";

const device = openReferenceDevice();
const config = parseModelConfig({ layers: 1, heads: 2, width: 32, vocabulary: 11, context: 8, attention: "hash(4)" });

function initialised() {
  const parameters = new ModelParameters(device, config);
  parameters.initialize();
  return parameters;
}

test("a model file gives back the configuration, the tokenizer and every parameter", async () => {
  const parameters = initialised();
  const bytes = await encodeModel(parameters, { tokenizer: "bytes" });
  const decoded = await decodeModel(await decodeSafetensors(bytes, "a.safetensors"), device);
  expect(decoded.tokenizer).toBe("bytes");
  expect(decoded.parameters.config).toEqual(config);
  expect(await decoded.parameters.values.read()).toEqual(await parameters.values.read());
});

test("weights without a configuration, or with a broken one, are refused by name", async () => {
  const tensors = initialised().tensorsToWrite();
  const decode = async (metadata: Record<string, string>) =>
    decodeModel(await decodeSafetensors(await encodeSafetensors(tensors, metadata), "b.safetensors"), device);
  await expect(decode({ format: "pt" })).rejects.toThrow(/^b\.safetensors: header: the file must be a model of scfa/);
  const broken = { format: "scfa-model", tokenizer: "bytes" };
  await expect(decode({ ...broken, config: "{" })).rejects.toThrow(/header, config: the configuration is not JSON/);
  const wider = JSON.stringify({ ...config, width: 64 });
  await expect(decode({ ...broken, config: wider })).rejects.toThrow(/tensor "tokens": the shape must be \[11, 64\]/);
});
