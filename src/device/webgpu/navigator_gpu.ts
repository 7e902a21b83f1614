import { UnsupportedError } from "../../errors.ts";
import type { Gpu } from "./dawn.ts";

/** WebGPU in a page or worker. @throws UnsupportedError if the browser has none, or the page is not secure */
export async function findGpu(): Promise<Gpu> {
  const gpu = globalThis.navigator?.gpu as Gpu | undefined;
  if (gpu) return gpu;
  const fix = "Use a browser with WebGPU, and a page from https or localhost.";
  throw new UnsupportedError("openDevice", "the page must have navigator.gpu", "none", fix);
}
