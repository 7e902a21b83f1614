import { DeviceError } from "../../errors.ts";
import { firstKernel, layout, pageBytes } from "./layout.ts";

export type SimdLevel = "relaxed" | "simd";

// (module (func (result v128) i32.const 0 i8x16.splat (three times) f32x4.relaxed_madd))
const relaxedProbe = [
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b, 0x03, 0x02, 0x01, 0x00],
  ...[0x0a, 0x13, 0x01, 0x11, 0x00, 0x41, 0x00, 0xfd, 0x0f, 0x41, 0x00, 0xfd, 0x0f, 0x41, 0x00, 0xfd, 0x0f],
  ...[0xfd, 0x85, 0x02, 0x0b],
];

/** Whether this engine has relaxed SIMD, whose multiply-add is one instruction where the machine has one. */
export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(new Uint8Array(relaxedProbe));
}

/** Compiles the kernels for one kind of memory. */
export async function compileKernels(simd: SimdLevel, { shared }: { shared: boolean }): Promise<WebAssembly.Module> {
  const { relaxedKernels, simdKernels } = await import("./generated/kernels.ts");
  const { base64, memoryFlagOffset } = simd === "relaxed" ? relaxedKernels : simdKernels;
  const binary = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  if (!shared) binary[memoryFlagOffset] = 1;
  return WebAssembly.compile(binary);
}

/** Memory of up to 4 GiB, or of as much as the engine grants. */
export function createMemory({ shared }: { shared: boolean }): { memory: WebAssembly.Memory; limitBytes: number } {
  const initial = Math.ceil(layout.heap / pageBytes) + 16;
  for (let maximum = 65536; maximum >= 1024; maximum /= 2) {
    try {
      return { memory: new WebAssembly.Memory({ initial, maximum, shared }), limitBytes: maximum * pageBytes };
    } catch {}
  }
  throw new DeviceError("WebAssembly.Memory", "refused", "the engine must grant 64 MiB of address space, got none");
}

/** Names of the kernels; a kernel's place in the function table is `firstKernel` + its place here. */
export function kernelNames(module: WebAssembly.Module): string[] {
  return WebAssembly.Module.exports(module)
    .filter(({ kind, name }) => kind === "function" && name !== "run" && name !== "runInline")
    .map(({ name }) => name);
}

export interface KernelInstance {
  run(thread: number): void;
  runInline(slotAddress: number): void;
}

/** An instance for the calling thread; workers.ts does the same inside a worker. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): KernelInstance {
  const names = kernelNames(module);
  const table = new WebAssembly.Table({ initial: firstKernel + names.length, element: "anyfunc" });
  const { exports } = new WebAssembly.Instance(module, { env: { memory, table } });
  names.forEach((name, i) => {
    table.set(firstKernel + i, exports[name]);
  });
  const dataEnd = (exports["dataEnd"] as WebAssembly.Global).value as number;
  if (dataEnd > layout.work) throw new DeviceError("kernels", "layout", `static data end at ${dataEnd}`);
  return exports as unknown as KernelInstance;
}
