import { DeviceError, UnsupportedError } from "../../errors.ts";
import type { CublasLt } from "./cublaslt.ts";
import { type Driver, type Handle, readHandle, status } from "./driver.ts";
import type { Facts } from "./facts.ts";
import type { CudaStorage } from "./kernel_arguments.ts";
import { KernelCache, readProgram } from "./kernel_cache.ts";
import { CudaMemory } from "./memory.ts";
import type { Compiler } from "./nvrtc.ts";

/** Which kernel: a file of this folder, an `extern "C"` function of it, and the constants it is specialised by. */
export interface KernelRequest {
  /** Without extension: `attention_forward`. */
  readonly file: string;
  /** The function, if it is not named like the file. */
  readonly entry?: string;
  readonly defines?: Readonly<Record<string, number>>;
  /** Compile for sm_90a, whose instructions no other architecture has; see `CudaRuntime.hasSm90a`. */
  readonly sm90a?: boolean;
}

export interface Launch {
  /** Blocks in x, y and z. */
  readonly grid: readonly [number, number?, number?];
  /** Threads of a block. */
  readonly threads: number;
  /** Dynamic shared memory, in bytes. */
  readonly sharedBytes?: number;
  /** One block of bytes for each parameter; see `pack`. */
  readonly parameters: readonly Uint8Array[];
}

export interface RuntimeOptions {
  readonly driver: Driver;
  readonly compiler: Compiler;
  readonly products: CublasLt;
  readonly facts: Facts;
  readonly context: Handle;
  /** Whether kernels must give equal bits run to run. */
  readonly deterministic: boolean;
}

const sharedBytesWithoutAsking = 48 * 1024;
const funcAttributeMaxDynamicSharedBytes = 8;
const parameterBytes = 8192;

/**
 * One context, one stream, and what the launchers of this folder need of them: kernels by name, launches, scratch.
 * All work runs in the order in which it is enqueued.
 */
export class CudaRuntime {
  readonly driver: Driver;
  /** The library that multiplies matrices; see product.ts. */
  readonly products: CublasLt;
  readonly facts: Facts;
  readonly deterministic: boolean;
  readonly stream: Handle;
  readonly memory: CudaMemory;
  /** Two i32, zero before and after every launch of a persistent kernel. */
  readonly counter: number;
  readonly #cache: KernelCache;
  readonly #compiler: Compiler;
  readonly #modules = new Map<string, Handle>();
  readonly #functions = new Map<string, Handle>();
  readonly #sharedBytes = new Map<Handle, number>();
  /** Values that last as long as the device: the state of a library, tuned choices. */
  readonly #kept = new Map<string, unknown>();
  readonly #atDispose: (() => void)[] = [];
  readonly #parameters: { bytes: Uint8Array; list: BigUint64Array; address: number; listAddress: number };
  #failure: Error | undefined;
  #profile: { op: string; start: Handle; end: Handle }[] | null = null;
  /** Whether launches are now being recorded instead of run; see recording.ts. */
  isCapturing = false;

  constructor({ driver, compiler, products, facts, context, deterministic }: RuntimeOptions) {
    this.driver = driver;
    this.products = products;
    this.facts = facts;
    this.deterministic = deterministic;
    this.#compiler = compiler;
    this.#cache = new KernelCache(compiler);
    driver.call("cuCtxSetCurrent", context);
    this.stream = readHandle((at) => driver.call("cuStreamCreate", at, nonBlocking));
    this.memory = new CudaMemory(driver, { stream: this.stream, device: facts.device, totalBytes: facts.memoryBytes });
    this.counter = this.memory.allocate(8).address;
    driver.call("cuMemsetD32Async", this.counter, 0, 2, this.stream);
    const [bytes, list] = [new Uint8Array(parameterBytes), new BigUint64Array(16)];
    this.#parameters = { bytes, list, address: driver.addressOf(bytes), listAddress: driver.addressOf(list) };
  }

  /** Whether kernels of the sm_90a family (wgmma, TMA) run here. */
  get hasSm90a(): boolean {
    const { major, minor } = this.facts.computeCapability;
    return major === 9 && minor === 0 && this.#compiler.architectures.includes(90);
  }

  /** Enqueues one kernel. @throws KernelCompileError, DeviceError */
  launch(request: KernelRequest, { grid: [x, y = 1, z = 1], threads, sharedBytes = 0, parameters }: Launch): void {
    if (x === 0 || y === 0 || z === 0) return;
    const kernel = this.#kernel(request);
    this.#allowShared(kernel, sharedBytes);
    const { bytes, list, address, listAddress } = this.#parameters;
    let at = 0;
    for (const [n, block] of parameters.entries()) {
      bytes.set(block, at);
      list[n] = BigInt(address + at);
      at += Math.ceil(block.length / 64) * 64;
    }
    this.call("cuLaunchKernel", kernel, x, y, z, threads, 1, 1, sharedBytes, this.stream, listAddress, 0);
  }

  /** A driver call. @throws DeviceError; the first error of the device itself is thrown again by all later calls */
  call(...call: Parameters<Driver["call"]>): void {
    this.mustWork();
    try {
      this.driver.call(...call);
    } catch (error) {
      if (error instanceof DeviceError && contextIsLost(error.code)) this.fail(lostContext(error));
      throw this.#failure ?? error;
    }
  }

  /**
   * Runs `use` with device memory that is its own until it returns, contents undefined: what `use` enqueues may use it,
   * for work runs in order. Nested calls get memory apart.
   */
  withScratch<R>(bytes: number, use: (address: number) => R): R {
    return this.memory.withScratch(bytes, use);
  }

  allocate(bytes: number): CudaStorage {
    this.mustWork();
    return this.memory.allocate(bytes);
  }

  release(storage: CudaStorage): void {
    if (this.#failure) return;
    this.memory.release(storage);
  }

  /** What `make` gave at the first call with this key: a library's handle, a tuned choice. */
  keep<T>(key: string, make: () => T): T {
    if (!this.#kept.has(key)) this.#kept.set(key, make());
    return this.#kept.get(key) as T;
  }

  /** Has `end` called when the device is disposed of. */
  atDispose(end: () => void): void {
    this.#atDispose.push(end);
  }

  /** Runs a launcher, between two events while a profile is taken. */
  timed(op: string, launch: () => void): void {
    const profile = this.isCapturing ? null : this.#profile;
    const start = profile && this.mark({ timing: true });
    launch();
    if (start !== null) profile?.push({ op, start, end: this.mark({ timing: true }) });
  }

  /** What each op that `run` enqueues takes, in milliseconds and in order. */
  async profile(run: () => void | Promise<void>): Promise<{ op: string; ms: number }[]> {
    const entries: { op: string; start: Handle; end: Handle }[] = [];
    this.#profile = entries;
    try {
      await run();
    } finally {
      this.#profile = null;
    }
    await this.idle();
    return entries.map(({ op, start, end }) => {
      const ms = this.elapsed(start, end);
      this.destroyEvents(start, end);
      return { op, ms };
    });
  }

  /** Milliseconds that the work which `run` enqueues takes on the device; waits for it without giving way. */
  timeNow(run: () => void): number {
    const [start, end] = [this.#event(0), this.#event(0)];
    try {
      this.call("cuEventRecord", start, this.stream);
      run();
      this.call("cuEventRecord", end, this.stream);
      this.call("cuEventSynchronize", end);
      return this.elapsed(start, end);
    } finally {
      this.destroyEvents(start, end);
    }
  }

  /** An event at this point of the stream. @param timing whether `elapsed` will be asked of it */
  mark({ timing = false } = {}): Handle {
    const event = this.#event(timing ? 0 : eventWithoutTiming);
    this.call("cuEventRecord", event, this.stream);
    return event;
  }

  /** Resolves when the device has come to the event. @throws DeviceError if work before it failed */
  async reached(event: Handle): Promise<void> {
    for (;;) {
      this.mustWork();
      const code = this.driver.attempt("cuEventQuery", event);
      if (code === status.success) return;
      if (code !== status.notReady) this.call("cuEventQuery", event);
      // Polled: a callback would come from a thread that is not ours.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  elapsed(start: Handle, end: Handle): number {
    const ms = new Float32Array(1);
    this.call("cuEventElapsedTime", ms, start, end);
    return ms[0]!;
  }

  destroyEvents(...events: Handle[]): void {
    if (this.#failure) return;
    for (const event of events) this.driver.attempt("cuEventDestroy", event);
  }

  /** Resolves when all enqueued work has run. @throws DeviceError if any of it failed */
  async idle(): Promise<void> {
    const event = this.mark();
    await this.reached(event);
    this.destroyEvents(event);
  }

  /** Makes every later call throw `error`. */
  fail(error: Error): void {
    this.#failure ??= error;
  }

  mustWork(): void {
    if (this.#failure) throw this.#failure;
  }

  dispose(reason: Error): void {
    if (this.#failure) return;
    this.driver.attempt("cuStreamSynchronize", this.stream);
    for (const end of this.#atDispose.reverse()) end();
    this.memory.dispose();
    for (const module of this.#modules.values()) this.driver.attempt("cuModuleUnload", module);
    this.driver.attempt("cuStreamDestroy", this.stream);
    this.driver.attempt("cuDevicePrimaryCtxRelease", this.facts.device);
    this.fail(reason);
  }

  #kernel({ file, entry = file, defines = {}, sm90a = false }: KernelRequest): Handle {
    const moduleKey = `${file} ${sm90a} ${JSON.stringify(defines)}`;
    const key = `${moduleKey} ${entry}`;
    const known = this.#functions.get(key);
    if (known !== undefined) return known;
    const module = this.#modules.get(moduleKey) ?? this.#load(file, defines, sm90a);
    this.#modules.set(moduleKey, module);
    const kernel = readHandle((at) => this.call("cuModuleGetFunction", at, module, entry));
    this.#functions.set(key, kernel);
    return kernel;
  }

  #load(file: string, defines: Readonly<Record<string, number>>, sm90a: boolean): Handle {
    const program = { ...readProgram(file), defines, architecture: sm90a ? "sm_90a" : this.#architecture() };
    const at = new BigUint64Array(1);
    const load = (code: Uint8Array) => this.driver.attempt("cuModuleLoadData", at, code);
    if (load(this.#cache.code(program)) !== status.success) {
      this.call("cuModuleLoadData", at, this.#cache.codeAnew(program));
    }
    return at[0]!;
  }

  /** Machine code for this device, or code that the driver translates where the compiler is older than the device. */
  #architecture(): string {
    const { major, minor } = this.facts.computeCapability;
    const own = 10 * major + minor;
    const { architectures, version } = this.#compiler;
    if (architectures.includes(own)) return `sm_${own}`;
    const nearest = Math.max(...architectures.filter((architecture) => architecture < own));
    if (Number.isFinite(nearest)) return `compute_${nearest}`;
    const rule = `NVRTC must know this device's architecture, sm_${own}`;
    throw new UnsupportedError("openDevice", rule, `NVRTC ${version}`, "Install a newer CUDA.");
  }

  #allowShared(kernel: Handle, bytes: number): void {
    if (bytes <= (this.#sharedBytes.get(kernel) ?? sharedBytesWithoutAsking)) return;
    this.call("cuFuncSetAttribute", kernel, funcAttributeMaxDynamicSharedBytes, bytes);
    this.#sharedBytes.set(kernel, bytes);
  }

  #event(flags: number): Handle {
    return readHandle((at) => this.call("cuEventCreate", at, flags));
  }
}

const nonBlocking = 1;
const eventWithoutTiming = 2;

/** After these the context answers every call with the same error. */
function contextIsLost(code: string): boolean {
  return /ILLEGAL|LAUNCH_FAILED|LAUNCH_TIMEOUT|MISALIGNED|INVALID_PC|HARDWARE|ASSERT|ECC|CONTAINED/.test(code);
}

function lostContext({ call, code }: DeviceError): DeviceError {
  return new DeviceError(call, code, "a kernel failed, and the device's memory is lost; open the device again");
}
