/** The language model: configuration, loss and gradients, optimizer, sampling, GPT-2 weights in and out. */
export * from "./config.ts";
export * from "./huggingface.ts";
export { type Draw, documentIds } from "./layerAttention.ts";
export { type Batch, Gpt, type GptOptions, type ModelTensors } from "./model.ts";
export * from "./notation.ts";
export * from "./optimizer.ts";
export {
  ModelParameters,
  type ParameterLayout,
  type ParameterSpec,
  parameterCount,
  parameterLayout,
} from "./parameters.ts";
export { Decoder, type GenerateOptions, generate, type SamplingOptions, sampleToken } from "./sampling.ts";
