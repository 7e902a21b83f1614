import { UnsupportedError } from "../../errors.ts";
import { type Driver, readI32, status } from "./driver.ts";

/** What the driver says of one GPU. */
export interface Facts {
  /** The driver's number of it. */
  readonly device: number;
  readonly name: string;
  readonly computeCapability: { readonly major: number; readonly minor: number };
  readonly processors: number;
  readonly memoryBytes: number;
  /** Dynamic shared memory that one block may ask for. */
  readonly sharedBytesPerBlock: number;
  /** The newest CUDA that the driver knows, for example `13.0`. */
  readonly driverVersion: string;
}

/** CUdevice_attribute. */
const attributes = { processors: 16, major: 75, minor: 76, sharedBytesOptIn: 97, memoryPools: 115 } as const;
const oldestCapability = 80;
const oldestDriver = 12000;

/**
 * Looks at GPU number `ordinal` of those that CUDA_VISIBLE_DEVICES leaves.
 * @throws UnsupportedError if there is none, or the driver or the GPU is too old
 */
export function readFacts(driver: Driver, ordinal: number): Facts {
  const code = driver.attempt("cuInit", 0);
  if (code === status.noDevice) throw noDevice();
  if (code !== status.success) driver.call("cuInit", 0);
  const version = readI32((at) => driver.call("cuDriverGetVersion", at));
  const driverVersion = `${Math.floor(version / 1000)}.${(version % 1000) / 10}`;
  if (version < oldestDriver) {
    const fix = "Install an NVIDIA driver of version 525 or later.";
    throw new UnsupportedError("openDevice", "the driver must know CUDA 12.0 or later", `CUDA ${driverVersion}`, fix);
  }
  const count = readI32((at) => driver.call("cuDeviceGetCount", at));
  if (count === 0) throw noDevice();
  if (ordinal >= count) {
    throw new UnsupportedError("openDevice", `gpu must be below the number of GPUs, ${count}`, `${ordinal}`);
  }
  const device = readI32((at) => driver.call("cuDeviceGet", at, ordinal));
  const attribute = (key: keyof typeof attributes) =>
    readI32((at) => driver.call("cuDeviceGetAttribute", at, attributes[key], device));
  const text = new Uint8Array(256);
  driver.call("cuDeviceGetName", text, text.length, device);
  const name = new TextDecoder().decode(text.subarray(0, text.indexOf(0)));
  const [major, minor] = [attribute("major"), attribute("minor")];
  if (10 * major + minor < oldestCapability) {
    const rule = "the GPU must have compute capability 8.0 or later (Ampere, 2020)";
    throw new UnsupportedError("openDevice", rule, `${name} with ${major}.${minor}`, "Use the CPU or WebGPU device.");
  }
  if (attribute("memoryPools") === 0) {
    const rule = "the driver must have stream-ordered memory";
    throw new UnsupportedError("openDevice", rule, `none on ${name}`, "Install a newer driver.");
  }
  const bytes = new BigUint64Array(1);
  driver.call("cuDeviceTotalMem", bytes, device);
  return {
    device,
    name,
    computeCapability: { major, minor },
    processors: attribute("processors"),
    memoryBytes: Number(bytes[0]),
    sharedBytesPerBlock: attribute("sharedBytesOptIn"),
    driverVersion,
  };
}

function noDevice(): UnsupportedError {
  const fix = "Look at nvidia-smi and CUDA_VISIBLE_DEVICES; a container must be started with its GPUs.";
  return new UnsupportedError("openDevice", "an NVIDIA GPU must be there", "none", fix);
}
