export {
  type AttentionOptions,
  type AttentionResult,
  attention,
  type BackwardTensors,
  type ForwardTensors,
  PreparedAttention,
} from "./attention.ts";
export { type Capabilities, Device } from "./device/device.ts";
export { type DeviceName, deviceNames, type OpenOptions, openDevice, surveyDevices } from "./device/open.ts";
export type { Ops } from "./device/ops.ts";
export * from "./errors.ts";
export { type LshOptions, lsh, sharedRotations } from "./lsh.ts";
export { type AttentionShape, type HashOptions, type Mask, type Part, type Pattern, pattern } from "./pattern/index.ts";
export { type Plan, type PlanHead, type PlanPart, plan } from "./plan.ts";
export { checkStaircase, type PartialStaircase } from "./staircase/check.ts";
export type { HostStaircase, Staircase, StaircaseRule } from "./staircase/staircase.ts";
export type { TileCounts } from "./staircase/tiles.ts";
export { type DType, type FloatType, type HostArray, type Storage, Tensor } from "./tensor.ts";
