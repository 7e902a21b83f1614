import { UnsupportedError } from "../../errors.ts";

/** Stands for this folder in what a bundler makes for pages: package.json's `browser` field says so. */
export async function openCudaDevice(): Promise<never> {
  throw new UnsupportedError("openDevice", "CUDA needs Node", "a page or worker", 'Use "webgpu" or "cpu".');
}
