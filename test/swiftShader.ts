import { existsSync } from "node:fs";
import koffi from "koffi";
import { openWebgpuDevice, type WebgpuDevice } from "../src/device/webgpu/index.ts";
import { UnsupportedError } from "../src/errors.ts";

/** Where Debian's package `chromium` has a GPU in software. */
const folder = "/usr/lib/chromium";

/**
 * Attention cases that share one build of the kernels: SwiftShader compiles for 6 s where a case needs another. All are
 * run with SCFA_WEBGPU=all, in some four minutes.
 */
export const sharedBuildCases: ReadonlySet<string> = new Set(
  [
    ...["hash, D = 16", "hash, D = 24", "hash without the diagonal", "hash, skewed, grouped heads"],
    ...["hash, 256 buckets for 67 rows", "hash, rows out of range take no part", "hash within documents"],
    ...["hash, fewer queries than keys", "hash, more queries than keys", "chunkedHash, skewed"],
    ...["hash, every query in a bucket without keys", "drop, 30% kept, grouped heads"],
  ].map((name) => `attention: ${name}`),
);
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
