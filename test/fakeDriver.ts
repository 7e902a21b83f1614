import type { Driver, NativeValue } from "../src/device/cuda/driver.ts";
import type { Compiler, Program } from "../src/device/cuda/nvrtc.ts";

/**
 * Stands in for the driver in tests: hands out numbers as handles and addresses, keeps a log of the calls, and holds
 * memory that `addressOf` was asked about, so that a test can read what a launch was given.
 */
export class FakeDriver implements Driver {
  readonly path = "fake";
  readonly log: { readonly name: string; readonly args: readonly NativeValue[] }[] = [];
  /** What a call answers besides 0: set by tests. */
  readonly answers = new Map<string, (args: readonly NativeValue[]) => number>();
  readonly #memory: { readonly address: number; readonly bytes: Uint8Array }[] = [];
  #next = 0x1000;

  attempt(name: string, ...args: NativeValue[]): number {
    this.log.push({ name, args });
    const code = this.answers.get(name)?.(args) ?? 0;
    const [at] = args;
    if (code === 0 && at instanceof BigUint64Array)
      at[0] ||= BigInt(this.#take(typeof args[1] === "number" ? args[1] : 8));
    return code;
  }

  call(name: string, ...args: NativeValue[]): void {
    const code = this.attempt(name, ...args);
    if (code !== 0) throw this.error(name, code);
  }

  /** What `call` throws; tests may put the driver's own errors here. */
  error: (name: string, code: number) => Error = (name, code) => new Error(`${name}: ${code}`);

  addressOf(memory: ArrayBufferView): number {
    const bytes = new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength);
    const address = this.#take(bytes.length);
    this.#memory.push({ address, bytes });
    return address;
  }

  view(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#memory.push({ address, bytes });
    return bytes;
  }

  /** Host memory at an address that `addressOf` or `view` told of. */
  memoryAt(address: number, length: number): Uint8Array {
    const block = this.#memory.find((b) => b.address <= address && address + length <= b.address + b.bytes.length);
    if (!block) throw new Error(`no host memory at ${address}`);
    return block.bytes.subarray(address - block.address, address - block.address + length);
  }

  /** Calls of this name, in order. */
  calls(name: string): (readonly NativeValue[])[] {
    return this.log.filter((entry) => entry.name === name).map(({ args }) => args);
  }

  #take(bytes: number): number {
    const address = this.#next;
    this.#next += Math.ceil((bytes + 1) / 4096) * 4096;
    return address;
  }
}

/** Stands in for NVRTC in tests: its code is a number, and it keeps what it was given. */
export class FakeCompiler implements Compiler {
  readonly path = "fake";
  readonly version = "13.0";
  readonly programs: Program[] = [];

  constructor(readonly architectures: readonly number[] = [80, 86, 89, 90]) {}

  compile(program: Program): Uint8Array {
    this.programs.push(program);
    return Uint8Array.of(this.programs.length);
  }
}
