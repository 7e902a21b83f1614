import { DeviceError } from "../../errors.ts";
import type { Storage } from "../../tensor.ts";

/** Device memory of a tensor, or of an op's scratch. */
export interface GpuStorage extends Storage {
  readonly buffer: GPUBuffer;
  /** Somebody else's: never given out to another tensor, and not ours to destroy. */
  readonly isBorrowed?: boolean;
}

/** Values of GPUBufferUsage and GPUMapMode, which Node has no globals for. */
export const usage = { mapRead: 0x1, copySource: 0x4, copyTarget: 0x8, uniform: 0x40, storage: 0x80 } as const;
export const mapModeRead = 1;

/** What buffers of tensors are used for. */
export const storageUsage = usage.storage | usage.copySource | usage.copyTarget;
const smallestBytes = 256;
/** Elements are counted in 32 bits, and some drivers count bytes so. */
const mostBytes = 2 ** 31 - 4;
/** Idle buffers are kept up to this, or up to what is in use if that is more. */
const idleBytesKept = 2 ** 28;

/** What memory needs of the runtime. */
interface MemoryOwner {
  /** Submits all work that is enqueued: a buffer may not be destroyed before. */
  flush(): void;
  /** Has calls that wait wait for this too. */
  check(work: Promise<void>): void;
  /** Gets the error of a buffer that the GPU had no memory for. */
  onRefused(error: DeviceError): unknown;
}

/**
 * A buffer a tensor. Buffers that are given back are given out again, at once: all work, and every upload, runs in the
 * order in which it is enqueued.
 */
export class GpuMemory {
  bytes = 0;
  peakBytes = 0;
  /** The largest tensor. */
  readonly maxBytes: number;
  readonly #device: GPUDevice;
  readonly #owner: MemoryOwner;
  readonly #made = new Set<GPUBuffer>();
  readonly #refused = new Map<GPUBuffer, DeviceError>();
  readonly #idle = new Map<number, GPUBuffer[]>();
  #idleBytes = 0;
  /** Counted in `bytes`, but not there. */
  #refusedBytes = 0;

  constructor(device: GPUDevice, owner: MemoryOwner) {
    this.#device = device;
    this.#owner = owner;
    const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
    this.maxBytes = Math.min(maxBufferSize, maxStorageBufferBindingSize, mostBytes);
  }

  allocate(bytes: number): GpuStorage {
    const size = this.#sizeOf(bytes);
    const known = this.#idle.get(size)?.pop();
    if (known) this.#idleBytes -= size;
    const buffer = known ?? this.create(size, storageUsage);
    this.#made.add(buffer);
    this.bytes += size;
    this.peakBytes = Math.max(this.peakBytes, this.bytes);
    return { buffer, bytes };
  }

  /** A buffer that is not one of a tensor's, until `destroy`. That there is no memory for one is known only later. */
  create(size: number, usage: number): GPUBuffer {
    const { bytes } = this;
    this.#device.pushErrorScope("out-of-memory");
    const buffer = this.#device.createBuffer({ size, usage });
    const refusal = this.#device.popErrorScope().then((error) => {
      if (error) this.#refuse(buffer, size, bytes);
    });
    this.#owner.check(refusal);
    return buffer;
  }

  destroy(buffer: GPUBuffer): void {
    this.#refused.delete(buffer);
    this.#made.delete(buffer);
    buffer.destroy();
  }

  /** The error of a buffer in use that the GPU had no memory for: until it is given back, all that uses it fails. */
  get refusal(): DeviceError | undefined {
    return this.#refused.values().next().value;
  }

  release({ buffer, bytes, isBorrowed }: GpuStorage): void {
    if (isBorrowed) return;
    const size = this.#sizeOf(bytes);
    this.bytes -= size;
    if (this.#refused.has(buffer)) {
      this.#refusedBytes -= size;
      this.destroy(buffer);
      return;
    }
    const others = this.#idle.get(size);
    if (others) others.push(buffer);
    else this.#idle.set(size, [buffer]);
    this.#idleBytes += size;
    if (this.#idleBytes > Math.max(idleBytesKept, this.bytes)) this.#trim();
  }

  /** Destroys all buffers, those in use too. */
  dispose(): void {
    for (const buffer of this.#made) buffer.destroy();
    this.#made.clear();
    this.#idle.clear();
  }

  /** WebGPU does not say how much memory a GPU has, so the error names what was held of it. */
  #refuse(buffer: GPUBuffer, size: number, bytesBefore: number): void {
    const mebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
    const held = mebibytes(bytesBefore - this.#refusedBytes);
    const fix = "Use a smaller batch or context, or dispose of tensors";
    const detail = `${mebibytes(size)} must fit into the GPU's memory beside the ${held} of tensors, and do not. ${fix}`;
    const error = new DeviceError("allocate", "out of memory", detail);
    const idle = this.#idle.get(size) ?? [];
    const at = idle.indexOf(buffer);
    if (at >= 0) {
      idle.splice(at, 1);
      this.#idleBytes -= size;
      this.#made.delete(buffer);
    } else if (this.#made.has(buffer)) {
      this.#refused.set(buffer, error);
      this.#refusedBytes += size;
    }
    this.#owner.onRefused(error);
  }

  #sizeOf(bytes: number): number {
    return Math.max(bytes, Math.min(sizeClass(bytes), this.maxBytes));
  }

  /** Destroys all idle buffers. */
  #trim(): void {
    this.#owner.flush();
    for (const buffer of [...this.#idle.values()].flat()) this.destroy(buffer);
    this.#idle.clear();
    this.#idleBytes = 0;
  }
}

/** The next eighth of a power of two: few sizes, so that buffers are met again, and at most an eighth too large. */
function sizeClass(bytes: number): number {
  if (bytes <= smallestBytes) return smallestBytes;
  const step = Math.max(16, 2 ** (Math.floor(Math.log2(bytes - 1)) - 3));
  return Math.ceil(bytes / step) * step;
}
