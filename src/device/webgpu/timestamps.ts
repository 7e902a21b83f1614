import { type GpuStorage, usage } from "./memory.ts";

/** The most that WebGPU allows in a query set. */
const perSet = 4096;
const bytesEach = 8;
/** Value of GPUBufferUsage, which Node has no global for. */
const resolveTarget = 0x200;

/** Times that a GPU notes between passes, numbered from 0 until `reset`. */
export class Timestamps {
  readonly #device: GPUDevice;
  readonly #sets: GPUQuerySet[] = [];
  #count = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Notes the end of all passes before; returns the time's number. */
  mark(commands: GPUCommandEncoder): number {
    const set = Math.floor(this.#count / perSet);
    this.#sets[set] ??= this.#device.createQuerySet({ type: "timestamp", count: perSet });
    const timestampWrites = { querySet: this.#sets[set], endOfPassWriteIndex: this.#count % perSet };
    commands.beginComputePass({ timestampWrites }).end();
    return this.#count++;
  }

  /** Puts all times noted, in nanoseconds of 64 bits, into a buffer of the caller's. */
  resolve(commands: GPUCommandEncoder): GpuStorage {
    const bytes = Math.max(1, this.#sets.length) * perSet * bytesEach;
    const buffer = this.#device.createBuffer({ size: bytes, usage: resolveTarget | usage.copySource });
    for (const [n, set] of this.#sets.entries()) {
      const count = Math.min(perSet, this.#count - n * perSet);
      if (count > 0) commands.resolveQuerySet(set, 0, count, buffer, n * perSet * bytesEach);
    }
    return { buffer, bytes };
  }

  /** Begins to number anew; the times before must have been resolved. */
  reset(): void {
    this.#count = 0;
  }
}
