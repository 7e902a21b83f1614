/** The language model: configuration, loss and gradients, optimizer, sampling, weights in and out. */
export {
  decodeSafetensors,
  encodeSafetensors,
  type Safetensors,
  type TensorToWrite,
} from "../data/safetensors.ts";
export type { AttentionWeights } from "./attentionWeights.ts";
export * from "./config.ts";
export type { Draw } from "./draws.ts";
export * from "./huggingface.ts";
export { Gpt, type GptOptions, type ModelTensors } from "./model.ts";
export * from "./modelFile.ts";
export * from "./notation.ts";
export * from "./optimizer.ts";
export {
  ModelParameters,
  type ParameterLayout,
  type ParameterSpec,
  parameterCount,
  parameterLayout,
} from "./parameters.ts";
export { type Batch, documentIds } from "./passInputs.ts";
export { Decoder, type GenerateOptions, generate, type SamplingOptions, sampleToken } from "./sampling.ts";
export { type StepResult, TrainStep, type TrainStepOptions } from "./trainStep.ts";
