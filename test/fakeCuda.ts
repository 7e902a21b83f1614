import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Facts } from "../src/device/cuda/facts.ts";
import { CudaDevice } from "../src/device/cuda/index.ts";
import type { CudaStorage } from "../src/device/cuda/kernel_arguments.ts";
import { CudaRuntime } from "../src/device/cuda/runtime.ts";
import type { Device } from "../src/device/device.ts";
import { bytesPerElement, type DType, Tensor } from "../src/tensor.ts";
import { FakeCublasLt } from "./fakeCublasLt.ts";
import { FakeCompiler, FakeDriver } from "./fakeDriver.ts";

/** One kernel launch as the driver was asked for it. */
export interface FakeLaunch {
  readonly entry: string;
  readonly defines: Readonly<Record<string, number>>;
  readonly architecture: string;
  readonly grid: readonly number[];
  readonly threads: number;
  readonly sharedBytes: number;
  /** Bytes from the start of each parameter on; more than it is long. */
  readonly parameters: readonly DataView[];
}

export const h200: Facts = {
  device: 0,
  name: "H200",
  computeCapability: { major: 9, minor: 0 },
  processors: 132,
  memoryBytes: 2 ** 37,
  sharedBytesPerBlock: 232448,
  driverVersion: "13.0",
};
/** A GPU of the smallest shared memory that is served. */
export const rtx3090: Facts = {
  ...h200,
  name: "RTX 3090",
  computeCapability: { major: 8, minor: 6 },
  processors: 82,
  sharedBytesPerBlock: 101376,
};

const mostParameters = 8;
const readBytes = 640;

/** A runtime on a fake driver and compiler, and the launches that it makes. */
export function openFakeCuda({ facts = h200, deterministic = false } = {}) {
  process.env.SCFA_CACHE = mkdtempSync(join(tmpdir(), "scfa-kernels-"));
  const [driver, compiler] = [new FakeDriver(), new FakeCompiler()];
  const launches: FakeLaunch[] = [];
  const [modules, kernels] = [new Map<bigint, number>(), new Map<bigint, { entry: string; module: bigint }>()];
  let next = 1n;
  driver.answers.set("cuModuleLoadData", ([at, code]) => {
    (at as BigUint64Array)[0] = next++;
    modules.set(next - 1n, (code as Uint8Array)[0]! - 1);
    return 0;
  });
  driver.answers.set("cuModuleGetFunction", ([at, module, entry]) => {
    (at as BigUint64Array)[0] = next++;
    kernels.set(next - 1n, { entry: entry as string, module: module as bigint });
    return 0;
  });
  driver.answers.set("cuLaunchKernel", (args) => {
    const { entry, module } = kernels.get(args[0] as bigint)!;
    const { defines, architecture } = compiler.programs[modules.get(module)!]!;
    const [, x, y, z, threads, , , sharedBytes] = args as number[];
    const list = new BigUint64Array(driver.memoryAt(args[9] as number, 8 * mostParameters).slice().buffer);
    const parameters = [...list].flatMap((at) => {
      if (at === 0n) return [];
      return [new DataView(driver.memoryAt(Number(at), readBytes).slice().buffer)];
    });
    launches.push({ entry, defines, architecture, grid: [x, y, z], threads, sharedBytes, parameters });
    return 0;
  });
  const products = new FakeCublasLt();
  const runtime = new CudaRuntime({ driver, compiler, products, facts, context: 1n, deterministic });
  return { driver, compiler, runtime, launches };
}

/** A tensor somewhere in the memory of a fake GPU. */
export function fakeTensor<D extends DType>(runtime: CudaRuntime, shape: readonly number[], dtype: D): Tensor<D> {
  const bytes = shape.reduce((n, d) => n * d, 1) * bytesPerElement[dtype];
  const storage: CudaStorage = runtime.allocate(bytes);
  return new Tensor({} as Device, storage, dtype, shape);
}

/** A whole device on a fake GPU, whose tensors hold nothing. */
export function fakeCudaDevice({ driver, compiler, runtime }: ReturnType<typeof openFakeCuda>): CudaDevice {
  return new CudaDevice({ driver, compiler, runtime });
}
