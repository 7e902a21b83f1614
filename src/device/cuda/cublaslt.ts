import { DeviceError } from "../../errors.ts";
import { type Library, loadKoffi } from "../nativeLibraries.ts";
import type { NativeValue } from "./driver.ts";
import { findCublasLt } from "./libraries.ts";

/** Calls of cuBLASLt, by their C names; each argument as in cublasLt.h, device memory and handles as numbers. */
const prototypes = {
  cublasLtCreate: "int cublasLtCreate(void *handle)",
  cublasLtDestroy: "int cublasLtDestroy(uint64_t handle)",
  cublasLtMatmulDescCreate: "int cublasLtMatmulDescCreate(void *description, int computeType, int scaleType)",
  cublasLtMatmulDescDestroy: "int cublasLtMatmulDescDestroy(uint64_t description)",
  cublasLtMatmulDescSetAttribute:
    "int cublasLtMatmulDescSetAttribute(uint64_t description, int attribute, const void *value, size_t bytes)",
  cublasLtMatrixLayoutCreate:
    "int cublasLtMatrixLayoutCreate(void *layout, int type, uint64_t rows, uint64_t columns, int64_t leadingDimension)",
  cublasLtMatrixLayoutDestroy: "int cublasLtMatrixLayoutDestroy(uint64_t layout)",
  cublasLtMatmulPreferenceCreate: "int cublasLtMatmulPreferenceCreate(void *preference)",
  cublasLtMatmulPreferenceDestroy: "int cublasLtMatmulPreferenceDestroy(uint64_t preference)",
  cublasLtMatmulPreferenceSetAttribute:
    "int cublasLtMatmulPreferenceSetAttribute(uint64_t preference, int attribute, const void *value, size_t bytes)",
  cublasLtMatmulAlgoGetHeuristic:
    "int cublasLtMatmulAlgoGetHeuristic(uint64_t handle, uint64_t description, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t preference, int wanted, void *results, void *count)",
  cublasLtMatmulAlgoConfigSetAttribute:
    "int cublasLtMatmulAlgoConfigSetAttribute(void *algorithm, int attribute, const void *value, size_t bytes)",
  cublasLtMatmulAlgoCheck:
    "int cublasLtMatmulAlgoCheck(uint64_t handle, uint64_t description, uint64_t a, uint64_t b, uint64_t c, uint64_t d, const void *algorithm, void *result)",
  cublasLtMatmul:
    "int cublasLtMatmul(uint64_t handle, uint64_t description, const void *alpha, uint64_t a, uint64_t aLayout, uint64_t b, uint64_t bLayout, const void *beta, uint64_t c, uint64_t cLayout, uint64_t d, uint64_t dLayout, const void *algorithm, uint64_t workspace, size_t workspaceBytes, uint64_t stream)",
} as const;

export type CublasLtCall = keyof typeof prototypes;

/** cublasStatus_t. */
export const blasStatus = { success: 0, invalidValue: 7, architectureMismatch: 8, notSupported: 15 } as const;
const refusals: readonly number[] = [
  blasStatus.notSupported,
  blasStatus.architectureMismatch,
  // What it says of sizes and alignments that an epilogue cannot have.
  blasStatus.invalidValue,
];

/** cublasComputeType_t: products of 16-bit types, sums in float32. */
export const computeFloat32 = 68;

/** cudaDataType_t. */
export const dataType = { f32: 0, f16: 2, bf16: 14 } as const;

/** cublasOperation_t. */
export const operation = { asIs: 0, turned: 1 } as const;

/** cublasLtMatmulDescAttributes_t, and the type of each value. */
export const attribute = {
  /** i32 */
  operationA: 3,
  /** i32 */
  operationB: 4,
  /** u32 */
  epilogue: 7,
  /** A device address. */
  biasPointer: 8,
  /** A device address. */
  auxPointer: 11,
  /** i64 */
  auxLeadingDimension: 12,
} as const;

/**
 * cublasLtEpilogue_t. `gelu` is the tanh form, takes alpha a b + beta c + bias and writes it to the auxiliary matrix;
 * `geluSlope` multiplies by gelu' of the auxiliary matrix.
 */
export const epilogue = { none: 1, bias: 4, gelu: 32 | 128, geluBias: 32 | 128 | 4, geluSlope: 64 | 128 } as const;

/** cublasLtMatmulPreferenceAttributes_t; u32, but for `workspaceBytes`, which is u64. */
export const preference = {
  workspaceBytes: 1,
  reductionSchemes: 3,
  alignmentA: 5,
  alignmentB: 6,
  alignmentC: 7,
  alignmentD: 8,
} as const;

/** cublasLtReductionScheme_t, bits: how the parts of a sum that was split along K are added up. */
export const reduction = { inPlace: 1, computeType: 2, outputType: 4 } as const;

/** cublasLtMatmulAlgoConfigAttributes_t; i32 and u32. */
export const algorithmAttribute = { splitK: 2, reductionScheme: 3 } as const;

/** NVIDIA's matrix products, or what stands in for them in tests. */
export abstract class CublasLt {
  abstract readonly path: string;
  /** For example `13.0`. */
  abstract readonly version: string;
  /** The status that the library returns. */
  abstract attempt(name: CublasLtCall, ...args: NativeValue[]): number;
  protected abstract statusName(code: number): string;

  /** @throws DeviceError with the library's own name of the error */
  call(name: CublasLtCall, ...args: NativeValue[]): void {
    const code = this.attempt(name, ...args);
    if (code !== blasStatus.success) throw new DeviceError(name, this.statusName(code), "cuBLASLt failed");
  }

  /** @returns false where the library has no way to do this. @throws DeviceError */
  accepts(name: CublasLtCall, ...args: NativeValue[]): boolean {
    const code = this.attempt(name, ...args);
    if (refusals.includes(code)) return false;
    if (code !== blasStatus.success) throw new DeviceError(name, this.statusName(code), "cuBLASLt failed");
    return true;
  }
}

class LoadedCublasLt extends CublasLt {
  readonly path: string;
  readonly version: string;
  readonly #functions: Record<CublasLtCall, (...args: NativeValue[]) => number>;
  readonly #statusName: (code: number) => string;

  constructor({ handle, path }: Library) {
    super();
    const entries = Object.entries(prototypes).map(([name, prototype]) => [name, handle.func(prototype)]);
    this.path = path;
    this.#functions = Object.fromEntries(entries);
    this.#statusName = handle.func("const char *cublasLtGetStatusName(int status)");
    const version = Number(handle.func("size_t cublasLtGetVersion()")());
    this.version = `${Math.floor(version / 10_000)}.${Math.floor(version / 100) % 100}`;
  }

  attempt(name: CublasLtCall, ...args: NativeValue[]): number {
    return this.#functions[name](...args);
  }

  protected statusName(code: number): string {
    return this.#statusName(code);
  }
}

/** Loads cuBLASLt. @throws UnsupportedError if it is not there */
export async function loadCublasLt(): Promise<CublasLt> {
  return new LoadedCublasLt(findCublasLt(await loadKoffi()));
}

/** A way to compute one product: cublasLtMatmulAlgo_t, and the device memory that it works in. */
export interface Algorithm {
  readonly bytes: Uint8Array;
  readonly workspaceBytes: number;
}

const algorithmBytes = 64;
/** Bytes of a cublasLtMatmulHeuristicResult_t: algorithm, u64 workspace, i32 status, f32 waves, 4 reserved i32. */
export const resultBytes = algorithmBytes + 8 + 4 + 4 + 16;

/** The usable ones of the cublasLtMatmulHeuristicResult_t that lie in `results`. */
export function readAlgorithms(results: Uint8Array, count: number): Algorithm[] {
  const fields = new DataView(results.buffer, results.byteOffset);
  const places = Array.from({ length: count }, (_, n) => n * resultBytes);
  return places
    .filter((at) => fields.getInt32(at + algorithmBytes + 8, true) === blasStatus.success)
    .map((at) => ({
      bytes: results.slice(at, at + algorithmBytes),
      workspaceBytes: Number(fields.getBigUint64(at + algorithmBytes, true)),
    }));
}
