import { z } from "zod";
import type { Safetensors, TensorToWrite } from "../data/safetensors.ts";
import { UnsupportedError } from "../errors.ts";
import { layerAttentions, type ModelConfig, parseModelConfig } from "./config.ts";
import { formatAttention } from "./notation.ts";
import type { ModelParameters, ParameterSpec } from "./parameters.ts";

/**
 * Weights to and from Hugging Face's GPT-2 (`GPT2LMHeadModel`): the layout of its `config.json` and of the names in its
 * `model.safetensors`. Its Conv1D keeps weights as [in, out], as here, so that arrays go over as they are; the head is
 * tied to the token table and not stored.
 */

/** Our name of a parameter, and GPT-2's. */
const blockNames: Record<string, string> = {
  norm1: "ln_1",
  qkv: "attn.c_attn",
  out: "attn.c_proj",
  norm2: "ln_2",
  up: "mlp.c_fc",
  down: "mlp.c_proj",
};

const GPT2_TOKENS = 50257;
const GPT2_END_OF_TEXT = 50256;

/**
 * The `config.json` that `GPT2LMHeadModel` reads.
 * @throws UnsupportedError if the model is not a GPT-2
 */
export function toHuggingFaceConfig(config: ModelConfig): Record<string, unknown> {
  mustBeGpt2(config);
  const endOfText = config.documentEnd ?? (config.vocabulary >= GPT2_TOKENS ? GPT2_END_OF_TEXT : null);
  return {
    architectures: ["GPT2LMHeadModel"],
    model_type: "gpt2",
    vocab_size: config.vocabulary,
    n_positions: config.context,
    n_embd: config.width,
    n_layer: config.layers,
    n_head: config.heads,
    n_inner: null,
    activation_function: "gelu_new",
    layer_norm_epsilon: config.epsilon,
    initializer_range: 0.02,
    resid_pdrop: 0,
    embd_pdrop: 0,
    attn_pdrop: 0,
    tie_word_embeddings: true,
    bos_token_id: endOfText,
    eos_token_id: endOfText,
    torch_dtype: "float32",
  };
}

/**
 * The tensors of `model.safetensors`. GPT-2 has biases everywhere; a model without them gets zeros, which say the same.
 * @throws UnsupportedError if the model is not a GPT-2
 */
export function toHuggingFaceTensors(parameters: ModelParameters): TensorToWrite[] {
  const { config } = parameters;
  mustBeGpt2(config);
  const tensors = parameters.tensorsToWrite().map((tensor) => ({ ...tensor, name: toHuggingFaceName(tensor.name) }));
  if (config.biases) return tensors;
  const zeros = parameters.layout.specs.filter(hasBiasInGpt2).map((spec): TensorToWrite => {
    const size = spec.shape.at(-1)!;
    const name = toHuggingFaceName(spec.name.replace(/weight$/, "bias"));
    return { name, dtype: "F32", shape: [size], data: () => new Float32Array(size) };
  });
  return [...tensors, ...zeros];
}

const configSchema = z.looseObject({
  model_type: z.string(),
  vocab_size: z.int(),
  n_positions: z.int(),
  n_embd: z.int(),
  n_layer: z.int(),
  n_head: z.int(),
  n_inner: z.int().nullish(),
  activation_function: z.string().default("gelu_new"),
  layer_norm_epsilon: z.number().default(1e-5),
  tie_word_embeddings: z.boolean().default(true),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  add_cross_attention: z.boolean().default(false),
});

/** What a GPT-2 `config.json` must hold, for readers of files; then `fromHuggingFaceConfig`. */
export const huggingFaceConfigSchema = configSchema;

/**
 * The configuration of the same model here.
 * @throws UnsupportedError if it is not GPT-2, or a variant that computes something else; ShapeError if a size is not
 *   supported
 */
export function fromHuggingFaceConfig(hf: z.output<typeof configSchema>): ModelConfig {
  const demand = (holds: boolean, rule: string, actual: unknown) => {
    if (!holds) throw new UnsupportedError("import", rule, JSON.stringify(actual));
  };
  demand(hf.model_type === "gpt2", 'model_type must be "gpt2"', hf.model_type);
  const gelu = ["gelu_new", "gelu_pytorch_tanh"].includes(hf.activation_function);
  demand(gelu, "activation_function must be the tanh form of gelu", hf.activation_function);
  demand((hf.n_inner ?? 4 * hf.n_embd) === 4 * hf.n_embd, "n_inner must be four times n_embd", hf.n_inner);
  demand(hf.tie_word_embeddings, "tie_word_embeddings must be true", false);
  demand(hf.scale_attn_weights, "scale_attn_weights must be true", false);
  demand(!hf.scale_attn_by_inverse_layer_idx, "scale_attn_by_inverse_layer_idx must be false", true);
  demand(!hf.add_cross_attention, "add_cross_attention must be false", true);
  return parseModelConfig({
    layers: hf.n_layer,
    heads: hf.n_head,
    width: hf.n_embd,
    vocabulary: hf.vocab_size,
    context: hf.n_positions,
    biases: true,
    epsilon: hf.layer_norm_epsilon,
  });
}

/**
 * Reads weights of GPT-2 into a model made from `fromHuggingFaceConfig`. Names may or may not begin with
 * `transformer.`; masks and a stored copy of the tied head are passed over.
 * @throws DataError if a tensor is missing or has another shape
 */
export async function loadHuggingFaceTensors(parameters: ModelParameters, file: Safetensors): Promise<void> {
  const prefixed = file.tensors.has(toHuggingFaceName("tokens"));
  const nameIn = ({ name }: ParameterSpec) => {
    const full = toHuggingFaceName(name);
    return prefixed ? full : full.replace(/^transformer\./, "");
  };
  const { specs } = parameters.layout;
  for (const spec of specs) file.entry(nameIn(spec), spec.shape);
  const view = parameters.views(parameters.values);
  for (const spec of specs) view(spec.name).write(await file.readF32(nameIn(spec)));
  parameters.refresh();
}

/** `blocks.3.qkv.weight` is `transformer.h.3.attn.c_attn.weight`, and so on. */
function toHuggingFaceName(name: string): string {
  if (name === "tokens") return "transformer.wte.weight";
  if (name === "positions") return "transformer.wpe.weight";
  const block = /^blocks\.(\d+)\.(\w+)\.(\w+)$/.exec(name);
  if (block) return `transformer.h.${block[1]}.${blockNames[block[2]!]}.${block[3]}`;
  return name.replace(/^norm\./, "transformer.ln_f.");
}

function hasBiasInGpt2({ name }: ParameterSpec): boolean {
  return name.endsWith(".weight");
}

function mustBeGpt2(config: ModelConfig): void {
  const refuse = (rule: string, actual: string, fix = "") => {
    throw new UnsupportedError("export", `Hugging Face's GPT-2 ${rule}`, actual, fix);
  };
  if (config.sharedQK) refuse("has keys of its own", "a model whose keys are its queries");
  if (config.positions !== "learned") refuse("has learned positions", config.positions);
  if (config.kvHeads !== config.heads) refuse("has as many key heads as heads", `${config.kvHeads} of ${config.heads}`);
  if (config.documentEnd !== null) refuse("sees across the ends of documents", `documentEnd ${config.documentEnd}`);
  const sparse = layerAttentions(config)
    .map(formatAttention)
    .find((attention) => attention !== "dense");
  if (sparse !== undefined) {
    refuse("attends densely", sparse, 'Set "attention" to "dense" in the configuration if that is what you want.');
  }
}
