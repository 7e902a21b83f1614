import { type Handle, readHandle } from "./driver.ts";
import type { CudaRuntime } from "./runtime.ts";

const stagingBytes = 32 << 20;
const halfBytes = stagingBytes / 2;
const alignment = 256;

/** Pinned host memory that the device reads or writes by itself. */
interface Pinned {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/**
 * Copies between host and device in stream order. Uploads pass through two halves of pinned memory in turn, so that
 * the host goes on at once unless both are still being read; downloads get pinned memory of their own until they are
 * done.
 */
export class Transfers {
  readonly #runtime: CudaRuntime;
  #staging: Pinned | undefined;
  /** Bytes of the current half that are taken, and which half it is. */
  #taken = 0;
  #half = 0;
  /** When the device has read a half that was left. */
  readonly #read: (Handle | null)[] = [null, null];
  /** Pinned memory of past downloads, to be used again. */
  readonly #idle: Pinned[] = [];
  readonly #all: Pinned[] = [];

  constructor(runtime: CudaRuntime) {
    this.#runtime = runtime;
    runtime.atDispose(() => {
      for (const { address } of this.#all) runtime.driver.attempt("cuMemFreeHost", address);
    });
  }

  /** The most bytes that `upload` takes at once. */
  get uploadBytes(): number {
    return halfBytes;
  }

  /** Copies up to `uploadBytes` to device memory; `data` may be changed on return. */
  upload(to: number, data: Uint8Array): void {
    this.#staging ??= this.#pin(stagingBytes);
    if (this.#taken + data.length > halfBytes) this.#turn();
    const at = this.#half * halfBytes + this.#taken;
    this.#staging.bytes.set(data, at);
    const from = this.#staging.address + at;
    this.#runtime.call("cuMemcpyHtoDAsync", to, from, data.length, this.#runtime.stream);
    this.#taken += Math.ceil(data.length / alignment) * alignment;
  }

  /** The bytes at a device address as of now in the stream, once all work enqueued so far has run. */
  async download(from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const host = this.#take(length);
    try {
      this.#runtime.call("cuMemcpyDtoHAsync", host.address, from, length, this.#runtime.stream);
      await this.#runtime.idle();
      return host.bytes.slice(0, length);
    } finally {
      this.#idle.push(host);
    }
  }

  #turn(): void {
    this.#read[this.#half] = this.#runtime.mark();
    this.#half = 1 - this.#half;
    this.#taken = 0;
    const event = this.#read[this.#half];
    if (!event) return;
    this.#runtime.call("cuEventSynchronize", event);
    this.#runtime.destroyEvents(event);
    this.#read[this.#half] = null;
  }

  #take(length: number): Pinned {
    const fits = this.#idle.findIndex(({ bytes }) => bytes.length >= length && bytes.length <= 4 * length + (1 << 16));
    if (fits >= 0) return this.#idle.splice(fits, 1)[0]!;
    return this.#pin(Math.max(1 << 16, 2 ** Math.ceil(Math.log2(Math.max(1, length)))));
  }

  #pin(bytes: number): Pinned {
    const { driver } = this.#runtime;
    const address = Number(readHandle((at) => this.#runtime.call("cuMemHostAlloc", at, bytes, 0)));
    const pinned = { address, bytes: driver.view(address, bytes) };
    this.#all.push(pinned);
    return pinned;
  }
}
