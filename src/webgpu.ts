export { fromGPUBuffer, toGPUBuffer } from "./device/webgpu/gpu_buffers.ts";
export { deviceDescriptor, openWebgpuDevice, WebgpuDevice, type WebgpuOptions } from "./device/webgpu/index.ts";
export { type Tier, tierFeatures, tiers } from "./device/webgpu/tier.ts";
