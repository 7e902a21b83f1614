import { describe, expect, it } from "vitest";
import { encodeSafetensors, openSafetensors } from "../data/safetensors.ts";
import { memorySource } from "../files/source.ts";
import { openReferenceDevice } from "../reference/device.ts";
import { type ModelOptions, parseModelConfig } from "./config.ts";
import {
  fromHuggingFaceConfig,
  huggingFaceConfigSchema,
  loadHuggingFaceTensors,
  toHuggingFaceConfig,
  toHuggingFaceTensors,
} from "./huggingface.ts";
import { ModelParameters } from "./parameters.ts";
import { Decoder } from "./sampling.ts";

const tiny = { layers: 2, heads: 2, width: 32, vocabulary: 13, context: 8, seed: 5 };
const prompt = [3, 1, 4, 1, 5];

function parametersFor(options: Partial<ModelOptions>): ModelParameters {
  const parameters = new ModelParameters(openReferenceDevice(), parseModelConfig({ ...tiny, ...options }));
  parameters.initialize();
  return parameters;
}

async function logitsOf(parameters: ModelParameters): Promise<number[]> {
  const decoder = new Decoder(parameters, { draw: { seed: 1, index: 0 } });
  const logits = Array.from(await decoder.push(prompt));
  decoder.dispose();
  return logits;
}

/** The arrays of a safetensors file, read with nothing but its description at hand. */
function readRaw(bytes: Uint8Array): Map<string, number[]> {
  const headerBytes = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerBytes)));
  const floats = (from: number, to: number) =>
    Array.from(new Float32Array(bytes.slice(8 + headerBytes + from, 8 + headerBytes + to).buffer));
  return new Map(
    Object.entries(header as Record<string, { data_offsets: [number, number] }>)
      .filter(([name]) => name !== "__metadata__")
      .map(([name, { data_offsets }]) => [name, floats(...data_offsets)]),
  );
}

/** GPT-2's forward from its description, one row after another; the logits of the last token. */
function gpt2(file: Map<string, number[]>, config: Record<string, unknown>, tokens: number[]): number[] {
  const [C, heads, layers] = [config["n_embd"], config["n_head"], config["n_layer"]] as [number, number, number];
  const get = (name: string) => file.get(`transformer.${name}`)!;
  const norm = (name: string, x: number[]) => {
    const mean = x.reduce((s, v) => s + v, 0) / C;
    const variance = x.reduce((s, v) => s + (v - mean) ** 2, 0) / C;
    const scale = 1 / Math.sqrt(variance + (config["layer_norm_epsilon"] as number));
    return x.map((v, c) => (v - mean) * scale * get(`${name}.weight`)[c]! + get(`${name}.bias`)[c]!);
  };
  const conv1d = (name: string, x: number[]) => {
    const weight = get(`${name}.weight`);
    const bias = get(`${name}.bias`);
    return bias.map((b, o) => x.reduce((s, v, i) => s + v * weight[i * bias.length + o]!, b));
  };
  const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  const sum = (x: number[], y: number[]) => x.map((v, c) => v + y[c]!);

  let stream = tokens.map((token, t) =>
    sum(get("wte.weight").slice(token * C, (token + 1) * C), get("wpe.weight").slice(t * C, (t + 1) * C)),
  );
  for (let layer = 0; layer < layers; layer++) {
    const h = `h.${layer}`;
    const qkv = stream.map((x) => conv1d(`${h}.attn.c_attn`, norm(`${h}.ln_1`, x)));
    const D = C / heads;
    const attended = qkv.map((row, t) =>
      Array.from({ length: heads }, (_, head) => {
        const part = (r: number[], which: number) => r.slice(which * C + head * D, which * C + (head + 1) * D);
        const keys = qkv.slice(0, t + 1);
        const weights = keys.map((key) => {
          const score = part(row, 0).reduce((s, v, d) => s + v * part(key, 1)[d]!, 0);
          return Math.exp(score / Math.sqrt(D));
        });
        const total = weights.reduce((s, w) => s + w, 0);
        return Array.from({ length: D }, (_, d) =>
          keys.reduce((s, key, j) => s + (weights[j]! / total) * part(key, 2)[d]!, 0),
        );
      }).flat(),
    );
    stream = stream.map((x, t) => sum(x, conv1d(`${h}.attn.c_proj`, attended[t]!)));
    stream = stream.map((x) =>
      sum(x, conv1d(`${h}.mlp.c_proj`, conv1d(`${h}.mlp.c_fc`, norm(`${h}.ln_2`, x)).map(gelu))),
    );
  }
  const last = norm("ln_f", stream.at(-1)!);
  return Array.from({ length: config["vocab_size"] as number }, (_, v) =>
    last.reduce((s, x, c) => s + x * get("wte.weight")[v * C + c]!, 0),
  );
}

describe("export to Hugging Face's GPT-2", () => {
  it.each([{ biases: true }, { biases: false }])("means the same when read independently: %j", async (options) => {
    const parameters = parametersFor(options);
    const bytes = await encodeSafetensors(toHuggingFaceTensors(parameters));
    const expected = gpt2(readRaw(bytes), toHuggingFaceConfig(parameters.config), prompt);
    const actual = await logitsOf(parameters);
    expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(1e-3);
    for (const [token, logit] of actual.entries()) expect(logit).toBeCloseTo(expected[token]!, 6);
  });

  it("has GPT-2's names, each with a bias, and nothing else", async () => {
    const names = toHuggingFaceTensors(parametersFor({ layers: 1 })).map(({ name }) => name);
    const affine = ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"].map((n) => `h.0.${n}`);
    const expected = [...affine, "ln_f"].flatMap((n) => [`transformer.${n}.weight`, `transformer.${n}.bias`]);
    expect(names.sort()).toEqual([...expected, "transformer.wpe.weight", "transformer.wte.weight"].sort());
  });

  it.each([
    [{ sharedQK: true }, "has keys of its own"],
    [{ positions: "rope" as const }, "has learned positions"],
    [{ kvHeads: 1 }, "has as many key heads as heads"],
    [{ attention: ["dense", "window(4)"] }, "attends densely, got window(4)"],
    [{ documentEnd: 1 }, "sees across the ends of documents"],
  ])("refuses what GPT-2 cannot express: %j", (options, message) => {
    const parameters = parametersFor(options);
    expect(() => toHuggingFaceConfig(parameters.config)).toThrow(message);
    expect(() => toHuggingFaceTensors(parameters)).toThrow(message);
  });
});

describe("import from Hugging Face's GPT-2", () => {
  it.each(["transformer.", ""])("gives back the exported model, with names that begin with %j", async (prefix) => {
    const exported = parametersFor({ biases: true });
    const config = huggingFaceConfigSchema.parse(toHuggingFaceConfig(exported.config));
    const tensors = toHuggingFaceTensors(exported).map((tensor) => ({
      ...tensor,
      name: tensor.name.replace("transformer.", prefix),
    }));
    const mask = { name: `${prefix}h.0.attn.bias`, dtype: "U8" as const, shape: [1], data: Uint8Array.of(1) };
    const bytes = await encodeSafetensors([...tensors, mask]);
    const imported = new ModelParameters(openReferenceDevice(), fromHuggingFaceConfig(config));
    await loadHuggingFaceTensors(imported, await openSafetensors(memorySource(bytes, "model.safetensors")));
    expect(await logitsOf(imported)).toEqual(await logitsOf(exported));
  });

  it("names a tensor that is missing", async () => {
    const parameters = parametersFor({ biases: true });
    const tensors = toHuggingFaceTensors(parameters).filter(({ name }) => !name.endsWith("c_fc.bias"));
    const file = await openSafetensors(memorySource(await encodeSafetensors(tensors), "model.safetensors"));
    await expect(loadHuggingFaceTensors(parameters, file)).rejects.toThrow(
      'model.safetensors: tensor "transformer.h.0.mlp.c_fc.bias"',
    );
  });

  it.each([
    [{ model_type: "llama" }, "model_type"],
    [{ activation_function: "relu" }, "activation_function"],
    [{ n_inner: 96 }, "n_inner"],
    [{ scale_attn_by_inverse_layer_idx: true }, "scale_attn_by_inverse_layer_idx"],
    [{ tie_word_embeddings: false }, "tie_word_embeddings"],
  ])("refuses a variant that computes something else: %j", (change, message) => {
    const config = { ...toHuggingFaceConfig(parseModelConfig(tiny)), ...change };
    expect(() => fromHuggingFaceConfig(huggingFaceConfigSchema.parse(config))).toThrow(message);
  });
});
