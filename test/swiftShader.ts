import { existsSync } from "node:fs";
import koffi from "koffi";
import { openWebgpuDevice, type WebgpuDevice } from "../src/device/webgpu/index.ts";
import { UnsupportedError } from "../src/errors.ts";

/** Where Debian's package `chromium` has a GPU in software. */
const folder = "/usr/lib/chromium";

/** Environment in which a process of its own finds SwiftShader; undefined where it is not installed. */
export const swiftShaderEnvironment = existsSync(`${folder}/vk_swiftshader_icd.json`)
  ? { VK_ICD_FILENAMES: `${folder}/vk_swiftshader_icd.json`, LD_LIBRARY_PATH: folder }
  : undefined;

/** A WebGPU device, on SwiftShader if no other driver is asked for; or nothing, and the reason is printed. */
export async function openWebgpuOrSay(): Promise<WebgpuDevice | null> {
  useSwiftShader();
  try {
    return await openWebgpuDevice();
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    console.log(`WebGPU is not tested here: ${error.message}`);
    return null;
  }
}

/** Lets Dawn in this process find SwiftShader, if it is there. */
export function useSwiftShader(): void {
  const icd = `${folder}/vk_swiftshader_icd.json`;
  if (process.env["VK_ICD_FILENAMES"] || !existsSync(icd)) return;
  process.env["VK_ICD_FILENAMES"] = icd;
  // Dawn asks for it by name: one that is loaded is found, wherever it lies.
  for (const loader of ["libvulkan.so.1", `${folder}/libvulkan.so.1`]) {
    try {
      koffi.load(loader);
      return;
    } catch {}
  }
}
