import { DeviceError } from "../../errors.ts";
import { type Library, loadKoffi } from "../nativeLibraries.ts";
import { findDriver } from "./libraries.ts";

/** A handle that the driver gave: a context, stream, event, module, function or graph. */
export type Handle = bigint;

/** Calls of the CUDA driver, by their C names; each argument as in cuda.h, pointers to results as typed arrays. */
const prototypes = {
  cuInit: "int cuInit(uint32_t flags)",
  cuDriverGetVersion: "int cuDriverGetVersion(void *version)",
  cuDeviceGetCount: "int cuDeviceGetCount(void *count)",
  cuDeviceGet: "int cuDeviceGet(void *device, int ordinal)",
  cuDeviceGetName: "int cuDeviceGetName(void *name, int length, int device)",
  cuDeviceGetAttribute: "int cuDeviceGetAttribute(void *value, int attribute, int device)",
  cuDeviceTotalMem: "int cuDeviceTotalMem_v2(void *bytes, int device)",
  cuDevicePrimaryCtxRetain: "int cuDevicePrimaryCtxRetain(void *context, int device)",
  cuDevicePrimaryCtxRelease: "int cuDevicePrimaryCtxRelease_v2(int device)",
  cuCtxSetCurrent: "int cuCtxSetCurrent(uint64_t context)",
  cuDeviceGetDefaultMemPool: "int cuDeviceGetDefaultMemPool(void *pool, int device)",
  cuMemPoolSetAttribute: "int cuMemPoolSetAttribute(uint64_t pool, int attribute, void *value)",
  cuMemPoolTrimTo: "int cuMemPoolTrimTo(uint64_t pool, size_t keepBytes)",
  cuMemGetInfo: "int cuMemGetInfo_v2(void *free, void *total)",
  cuMemAllocAsync: "int cuMemAllocAsync(void *address, size_t bytes, uint64_t stream)",
  cuMemFreeAsync: "int cuMemFreeAsync(uint64_t address, uint64_t stream)",
  cuMemAlloc: "int cuMemAlloc_v2(void *address, size_t bytes)",
  cuMemFree: "int cuMemFree_v2(uint64_t address)",
  cuMemHostAlloc: "int cuMemHostAlloc(void *address, size_t bytes, uint32_t flags)",
  cuMemFreeHost: "int cuMemFreeHost(uint64_t address)",
  cuMemcpyHtoDAsync: "int cuMemcpyHtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, uint64_t stream)",
  cuMemcpyDtoHAsync: "int cuMemcpyDtoHAsync_v2(uint64_t to, uint64_t from, size_t bytes, uint64_t stream)",
  cuMemcpyDtoDAsync: "int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, uint64_t stream)",
  cuMemsetD16Async: "int cuMemsetD16Async(uint64_t to, uint16_t value, size_t count, uint64_t stream)",
  cuMemsetD32Async: "int cuMemsetD32Async(uint64_t to, uint32_t value, size_t count, uint64_t stream)",
  cuStreamCreate: "int cuStreamCreate(void *stream, uint32_t flags)",
  cuStreamDestroy: "int cuStreamDestroy_v2(uint64_t stream)",
  cuStreamSynchronize: "int cuStreamSynchronize(uint64_t stream)",
  cuStreamBeginCapture: "int cuStreamBeginCapture_v2(uint64_t stream, int mode)",
  cuStreamEndCapture: "int cuStreamEndCapture(uint64_t stream, void *graph)",
  cuGraphInstantiate: "int cuGraphInstantiateWithFlags(void *executable, uint64_t graph, uint64_t flags)",
  cuGraphLaunch: "int cuGraphLaunch(uint64_t executable, uint64_t stream)",
  cuGraphExecDestroy: "int cuGraphExecDestroy(uint64_t executable)",
  cuGraphDestroy: "int cuGraphDestroy(uint64_t graph)",
  cuEventCreate: "int cuEventCreate(void *event, uint32_t flags)",
  cuEventRecord: "int cuEventRecord(uint64_t event, uint64_t stream)",
  cuEventQuery: "int cuEventQuery(uint64_t event)",
  cuEventSynchronize: "int cuEventSynchronize(uint64_t event)",
  cuEventElapsedTime: "int cuEventElapsedTime(void *ms, uint64_t start, uint64_t end)",
  cuEventDestroy: "int cuEventDestroy_v2(uint64_t event)",
  cuModuleLoadData: "int cuModuleLoadData(void *module, const void *image)",
  cuModuleGetFunction: "int cuModuleGetFunction(void *function, uint64_t module, const char *name)",
  cuModuleUnload: "int cuModuleUnload(uint64_t module)",
  cuFuncSetAttribute: "int cuFuncSetAttribute(uint64_t function, int attribute, int value)",
  cuLaunchKernel:
    "int cuLaunchKernel(uint64_t function, uint32_t gridX, uint32_t gridY, uint32_t gridZ, uint32_t blockX, uint32_t blockY, uint32_t blockZ, uint32_t sharedBytes, uint64_t stream, uint64_t parameters, uint64_t extra)",
  cuTensorMapEncodeTiled:
    "int cuTensorMapEncodeTiled(uint64_t map, int type, uint32_t rank, uint64_t address, const void *sizes, const void *strides, const void *box, const void *elementStrides, int interleave, int swizzle, int promotion, int fill)",
} as const;

type DriverCall = keyof typeof prototypes;
/** A value that goes to C: numbers and handles as they are, memory as a typed array, names as strings. */
export type NativeValue = number | bigint | string | ArrayBufferView;

/** Status codes that have a meaning of their own here (CUresult). */
export const status = {
  success: 0,
  outOfMemory: 2,
  noDevice: 100,
  notReady: 600,
} as const;

/**
 * The CUDA driver. `call` throws what the driver reports; `attempt` returns the code. One interface, so that tests can
 * stand in for the driver.
 */
export interface Driver {
  /** Where the library was found. */
  readonly path: string;
  attempt(name: DriverCall, ...args: NativeValue[]): number;
  /** @throws DeviceError with the driver's own name of the error */
  call(name: DriverCall, ...args: NativeValue[]): void;
  /** Address of a typed array's memory, which stays where it is. */
  addressOf(memory: ArrayBufferView): number;
  /** Native memory as bytes. */
  view(address: number, bytes: number): Uint8Array;
}

/** Loads libcuda. @throws UnsupportedError if it is not there */
export async function loadDriver(): Promise<Driver> {
  const koffi = await loadKoffi();
  const library = findDriver(koffi);
  const functions = bind(library);
  const errorName = library.handle.func("int cuGetErrorName(int code, _Out_ const char **name)");
  const errorText = library.handle.func("int cuGetErrorString(int code, _Out_ const char **text)");
  const ask = (question: (...args: unknown[]) => number, code: number, otherwise: string) => {
    const answer: [string | null] = [null];
    return question(code, answer) === 0 && answer[0] ? answer[0] : otherwise;
  };
  const attempt = (name: DriverCall, ...args: NativeValue[]) => functions[name](...args);
  return {
    path: library.path,
    attempt,
    call(name, ...args) {
      const code = functions[name](...args);
      if (code === status.success) return;
      throw new DeviceError(name, ask(errorName, code, `error ${code}`), ask(errorText, code, "the driver failed"));
    },
    addressOf: (memory) => Number(koffi.address(memory)),
    view: (address, bytes) => new Uint8Array(koffi.view(BigInt(address), bytes)),
  };
}

function bind({ handle }: Library): Record<DriverCall, (...args: NativeValue[]) => number> {
  const entries = Object.entries(prototypes).map(([name, prototype]) => [name, lazily(() => handle.func(prototype))]);
  return Object.fromEntries(entries);
}

/** Looks a function up at its first call, so that an old driver fails only where it lacks what is used. */
function lazily(find: () => (...args: NativeValue[]) => number) {
  let found: ((...args: NativeValue[]) => number) | undefined;
  return (...args: NativeValue[]): number => {
    found ??= find();
    return found(...args);
  };
}

/** The number that the driver writes: `read((at) => driver.call("cuDeviceGetCount", at))`. */
export function readI32(write: (at: Int32Array) => void): number {
  const at = new Int32Array(1);
  write(at);
  return at[0]!;
}

/** The handle or address that the driver writes. */
export function readHandle(write: (at: BigUint64Array) => void): Handle {
  const at = new BigUint64Array(1);
  write(at);
  return at[0]!;
}
