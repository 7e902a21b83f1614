import { existsSync } from "node:fs";
import koffi from "koffi";

/** Where Debian's package `chromium` has a GPU in software. */
const folder = "/usr/lib/chromium";

/**
 * Lets WebGPU in this process find SwiftShader, if it is there and no other driver is asked for. To be
 * called before a device is opened.
 */
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
