// Compiles src/device/cpu/kernels.as.ts to WebAssembly, with and without relaxed SIMD, and writes both as base64 into
// src/device/cpu/generated/kernels.ts, which loads the same way in Node, in bundlers and in pages.
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const folder = "src/device/cpu";

const options = [
  ...["--baseDir", root, "--runtime", "stub", "-O3", "--noAssert", "--converge"],
  ...["--importMemory", "--noExportMemory", "--sharedMemory", "--initialMemory", "32", "--maximumMemory", "65536"],
  ...["--importTable", "--memoryBase", "1024", "--enable", "simd", "--enable", "threads"],
  ...["--disableWarning", "201"],
];

async function compile(extra) {
  let binary;
  const { error, stderr } = await asc.main([`${folder}/kernels.as.ts`, "-o", "kernels.wasm", ...options, ...extra], {
    writeFile: (name, contents) => {
      if (name.endsWith(".wasm")) binary = contents;
    },
  });
  if (error) throw new Error(`${stderr.toString()}\n${error.message}`);
  return binary;
}

const readVarUint = (bytes, at) => {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return [value >>> 0, at];
  }
};

/** Offset of the limits byte of the imported memory: 3 = shared with a maximum; 1 = not shared with a maximum. */
export function memoryFlagOffset(bytes) {
  let at = 8;
  while (at < bytes.length) {
    const id = bytes[at];
    const [size, body] = readVarUint(bytes, at + 1);
    if (id === 2) {
      const marker = Buffer.from(bytes).indexOf(Buffer.from("\x06memory\x02\x03", "latin1"), body);
      if (marker > 0 && marker < body + size) return marker + 8;
    }
    at = body + size;
  }
  throw new Error("kernels.wasm: the module must import a shared memory, found none.");
}

export async function buildKernels() {
  const [plain, relaxed] = [await compile([]), await compile(["--enable", "relaxed-simd"])];
  const entry = (bytes) =>
    `{ memoryFlagOffset: ${memoryFlagOffset(bytes)}, base64: "${Buffer.from(bytes).toString("base64")}" }`;
  const text = [
    "// Made by scripts/build-kernels.mjs.",
    "export interface KernelBinary {",
    "  /** Where the byte is that says whether the imported memory is shared (3) or not (1). */",
    "  readonly memoryFlagOffset: number;",
    "  readonly base64: string;",
    "}",
    `export const simdKernels: KernelBinary = ${entry(plain)};`,
    `export const relaxedKernels: KernelBinary = ${entry(relaxed)};`,
    "",
  ].join("\n");
  const target = resolve(root, folder, "generated/kernels.ts");
  mkdirSync(dirname(target), { recursive: true });
  // Written beside and renamed, so that a process that reads meanwhile never sees half a file.
  writeFileSync(`${target}.${process.pid}`, text);
  renameSync(`${target}.${process.pid}`, target);
  return { simdBytes: plain.length, relaxedBytes: relaxed.length };
}

if (process.argv[1] && fileURLToPath(import.meta.url) === resolve(process.argv[1])) {
  const { simdBytes, relaxedBytes } = await buildKernels();
  console.log(`kernels: ${simdBytes} bytes, with relaxed SIMD ${relaxedBytes} bytes`);
}
