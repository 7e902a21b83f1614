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
  readonly #flush: () => void;
  readonly #made = new Set<GPUBuffer>();
  readonly #idle = new Map<number, GPUBuffer[]>();
  #idleBytes = 0;

  /** @param flush submits all work that is enqueued: a buffer may not be destroyed before */
  constructor(device: GPUDevice, flush: () => void) {
    this.#device = device;
    this.#flush = flush;
    const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
    this.maxBytes = Math.min(maxBufferSize, maxStorageBufferBindingSize, mostBytes);
  }

  allocate(bytes: number): GpuStorage {
    const size = this.#sizeOf(bytes);
    const known = this.#idle.get(size)?.pop();
    if (known) this.#idleBytes -= size;
    const buffer = known ?? this.#device.createBuffer({ size, usage: storageUsage });
    this.#made.add(buffer);
    this.bytes += size;
    this.peakBytes = Math.max(this.peakBytes, this.bytes);
    return { buffer, bytes };
  }

  release({ buffer, bytes, isBorrowed }: GpuStorage): void {
    if (isBorrowed) return;
    const size = this.#sizeOf(bytes);
    this.bytes -= size;
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

  #sizeOf(bytes: number): number {
    return Math.max(bytes, Math.min(sizeClass(bytes), this.maxBytes));
  }

  /** Destroys all idle buffers. */
  #trim(): void {
    this.#flush();
    for (const buffer of [...this.#idle.values()].flat()) {
      buffer.destroy();
      this.#made.delete(buffer);
    }
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
