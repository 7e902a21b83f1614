/** What this browser lets a page use. */

/** Whether the page shares memory with its workers: without, WASM computes on one thread. */
export const hasThreads = globalThis.crossOriginIsolated === true;

/** Cores that the browser says there are. */
export const cores = navigator.hardwareConcurrency || 1;

/** The GPU that WebGPU would use; null where there is none. */
export async function findAdapter(): Promise<GPUAdapter | null> {
  try {
    return (await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" })) ?? null;
  } catch {
    return null;
  }
}

/** A GPU's name, as far as the browser tells it. */
export function adapterName(adapter: GPUAdapter): string {
  const { info } = adapter;
  const names = [info.description || info.device, info.vendor, info.architecture].filter((name) => name !== "");
  const name = [...new Set(names)].join(", ") || "a GPU that the browser does not name";
  return isSoftware(adapter) ? `${name} (in software: slow)` : name;
}

/** Whether the processor plays the GPU: WASM is faster then. */
export function isSoftware({ info }: GPUAdapter): boolean {
  return info.isFallbackAdapter || /swiftshader|llvmpipe/i.test(`${info.description} ${info.architecture}`);
}

/** In sentences for the foot of the page. */
export async function machineFacts(): Promise<string[]> {
  const adapter = await findAdapter();
  return [
    adapter
      ? `WebGPU: ${adapterName(adapter)}.`
      : "This browser offers no WebGPU, so everything runs on WASM, on the processor. Chrome, Edge, and recent Safari and Firefox have WebGPU, on pages from https or localhost.",
    hasThreads
      ? `WASM: up to ${cores} threads.`
      : "WASM: one thread, because this page was served without the headers that let threads share memory (Cross-Origin-Opener-Policy: same-origin, Cross-Origin-Embedder-Policy: require-corp).",
    "Nothing that you type or drop here leaves your browser.",
  ];
}
