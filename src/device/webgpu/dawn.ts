import { UnsupportedError } from "../../errors.ts";

/** Where adapters come from; must stay referenced while anything made from it lives. */
export type Gpu = Pick<GPU, "requestAdapter">;

/**
 * Without the first two Dawn offers neither subgroup matrices nor, on NVIDIA, f16. The third takes away the checks of every
 * index that pages need: they cost matrix products half of their speed and more, and these kernels are our own. The fourth
 * would round a GPU's times to 65 microseconds.
 */
const dawnOptions = [
  "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,disable_robustness",
  "disable-dawn-features=timestamp_quantization",
];

/**
 * WebGPU in Node: Dawn, from the package `webgpu`. In what a bundler makes for pages navigator_gpu.ts stands for this
 * file: package.json's `browser` field says so.
 * @throws UnsupportedError if the package is not there or does not load
 */
export async function findGpu(): Promise<Gpu> {
  try {
    const { create } = await import("webgpu");
    return create(dawnOptions) as unknown as Gpu;
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0]! : String(error);
    throw new UnsupportedError("openDevice", "WebGPU in Node needs the package webgpu", why, "Install webgpu.");
  }
}
