import { DeviceError } from "../../errors.ts";
import { type Driver, type Handle, readHandle, status } from "./driver.ts";
import type { CudaStorage } from "./kernel_arguments.ts";

const alignment = 256;
const smallestScratchBytes = 32 << 20;
const poolAttributeReleaseThreshold = 4;

/**
 * Device memory: tensors from the driver's stream-ordered pool, which keeps what is given back, so that a steady
 * training step maps no memory; and a stack of scratch for what lives within one op.
 */
export class CudaMemory {
  #bytes = 0;
  #peakBytes = 0;
  /** What tensors hold, to be given back with the device. */
  readonly #blocks = new Set<Block>();
  /** Scratch is handed out of the last; earlier ones stay, for they are in use or recorded work writes to them. */
  readonly #scratch: { address: number; bytes: number }[] = [];
  /** Bytes of the last block in use. */
  #scratchTop = 0;
  readonly #driver: Driver;
  readonly #stream: Handle;
  readonly #totalBytes: number;
  readonly #pool: Handle;

  constructor(driver: Driver, { stream, device, totalBytes }: { stream: Handle; device: number; totalBytes: number }) {
    this.#driver = driver;
    this.#stream = stream;
    this.#totalBytes = totalBytes;
    this.#pool = readHandle((at) => driver.call("cuDeviceGetDefaultMemPool", at, device));
    driver.call("cuMemPoolSetAttribute", this.#pool, poolAttributeReleaseThreshold, new BigUint64Array([2n ** 63n]));
  }

  /** Bytes held by tensors and scratch. */
  get bytes(): number {
    return this.#bytes;
  }

  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** @throws DeviceError when there is none left */
  allocate(bytes: number): CudaStorage {
    const size = Math.max(alignment, Math.ceil(bytes / alignment) * alignment);
    const at = new BigUint64Array(1);
    const code = this.#driver.attempt("cuMemAllocAsync", at, size, this.#stream);
    if (code === status.outOfMemory) throw this.#outOfMemory(bytes);
    if (code !== status.success) this.#driver.call("cuMemAllocAsync", at, size, this.#stream);
    this.#count(size);
    const block = new Block(Number(at[0]), bytes, size);
    this.#blocks.add(block);
    return block;
  }

  release(storage: CudaStorage): void {
    const block = storage as Block;
    if (!this.#blocks.delete(block)) return;
    this.#count(-block.size);
    this.#driver.call("cuMemFreeAsync", block.address, this.#stream);
  }

  /** See `CudaRuntime.withScratch`. */
  withScratch<R>(bytes: number, use: (address: number) => R): R {
    const size = Math.ceil(bytes / alignment) * alignment;
    const before = this.#scratchTop;
    const held = this.#scratch.length;
    const block = this.#scratch.at(-1);
    if (!block || before + size > block.bytes) this.#growScratch(size);
    const start = this.#scratch.length > held ? 0 : before;
    this.#scratchTop = start + size;
    try {
      return use(this.#scratch.at(-1)!.address + start);
    } finally {
      // Where a block was added meanwhile, nothing of those who are still at work lies in it.
      this.#scratchTop = this.#scratch.length === held ? before : 0;
    }
  }

  dispose(): void {
    for (const { address } of this.#blocks) this.#driver.attempt("cuMemFreeAsync", address, this.#stream);
    this.#driver.attempt("cuStreamSynchronize", this.#stream);
    for (const { address } of this.#scratch) this.#driver.attempt("cuMemFree", address);
    this.#driver.attempt("cuMemPoolTrimTo", this.#pool, 0);
  }

  /** Not from the pool: recorded work keeps the address. */
  #growScratch(size: number): void {
    const bytes = Math.max(smallestScratchBytes, size, 2 * (this.#scratch.at(-1)?.bytes ?? 0));
    const at = new BigUint64Array(1);
    const wanted = [bytes, size].find((n) => this.#driver.attempt("cuMemAlloc", at, n) === status.success);
    if (wanted === undefined) throw this.#outOfMemory(size);
    this.#scratch.push({ address: Number(at[0]), bytes: wanted });
    this.#count(wanted);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#bytes);
  }

  #outOfMemory(bytes: number): DeviceError {
    return new DeviceError(
      "allocate",
      "out of memory",
      `the GPU has ${this.#totalBytes} bytes, got a request for ${bytes} bytes with ${this.#bytes} held. ` +
        "Use a smaller batch or context, or dispose of tensors sooner",
    );
  }
}

class Block implements CudaStorage {
  constructor(
    readonly address: number,
    readonly bytes: number,
    readonly size: number,
  ) {}
}
