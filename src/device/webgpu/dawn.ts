import { UnsupportedError } from "../../errors.ts";
import { findVulkan } from "./vulkan.ts";

/** Where adapters come from. */
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

/** The process's one Dawn, never given up: when one and its devices are collected as garbage, the process may crash. */
let gpu: Gpu | undefined;

/**
 * WebGPU in Node: Dawn, from the package `webgpu`. In what a bundler makes for pages navigator_gpu.ts stands for this
 * file: package.json's `browser` field says so.
 * @throws UnsupportedError if the package, or on Linux a Vulkan driver, is not there
 */
export async function findGpu(): Promise<Gpu> {
  if (gpu) return gpu;
  const dawn = await loadDawn();
  if (process.platform === "linux") await findVulkan();
  gpu ??= dawn.create(dawnOptions) as unknown as Gpu;
  return gpu;
}

async function loadDawn(): Promise<typeof import("webgpu")> {
  try {
    return await import("webgpu");
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0]! : String(error);
    const fix = "Install webgpu; it has binaries for Linux (glibc), macOS and Windows.";
    throw new UnsupportedError("openDevice", "WebGPU in Node needs the package webgpu", why, fix);
  }
}
