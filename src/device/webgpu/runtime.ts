import { DeviceError, KernelCompileError, UnsupportedError } from "../../errors.ts";
import { bytesPerElement, type DType } from "../../tensor.ts";
import { wgsl } from "./generated/wgsl.ts";
import { bindArguments, type KernelArguments, type Operand } from "./kernel_arguments.ts";
import { GpuMemory, type GpuStorage, mapModeRead, usage } from "./memory.ts";
import type { Capture } from "./recording.ts";
import { type Tier, tierEnables } from "./tier.ts";
import { Timestamps } from "./timestamps.ts";
import { unroll } from "./unroll.ts";

/** Which kernel: a file of this folder, and what it is specialised by. */
export interface KernelRequest {
  /** Without extension: `layer_norm`. */
  readonly file: string;
  /** The function, if it is not named like the file. */
  readonly entry?: string;
  /** Files of functions that it calls. */
  readonly uses?: readonly string[];
  readonly constants?: Readonly<Record<string, number | boolean>>;
}

export interface Launch extends KernelArguments {
  /** Workgroups, in a row; `workgroup_number` of the prelude counts them. */
  readonly groups: number;
}

/** A launch with its operands bound: may be enqueued any number of times. */
export interface Prepared {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly block: Uint8Array;
  readonly groups: number;
}

interface Kernel {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Bytes of the uniform block of a launch; a multiple of what dynamic offsets are aligned to. */
const argumentBytes = 512;
/** More are submitted at once: few enough that the device begins early. */
const launchesPerSubmit = 128;
const mostGroupsPerDimension = 65535;

/** What every kernel may call: grids are spread over x and y. */
const common = `fn workgroup_number(id: vec3<u32>, count: vec3<u32>) -> u32 { return id.y * count.x + id.x; }
`;

/**
 * One queue, and what the launchers of this folder need of it: kernels by name, launches, scratch, transfers. All work
 * runs in the order in which it is enqueued; launches are gathered and submitted together. What fails is thrown by the
 * next call that waits, and by all after it.
 */
export class WebgpuRuntime {
  readonly memory: GpuMemory;
  readonly #device: GPUDevice;
  readonly #kernels = new Map<string, Kernel>();
  readonly #kept = new Map<string, GpuStorage>();
  readonly #uniforms: GPUBuffer;
  readonly #blocks = new Uint8Array(argumentBytes * launchesPerSubmit);
  readonly #checks = new Set<Promise<void>>();
  readonly #timestamps: Timestamps | null;
  #profile: { op: string; start: number; end: number }[] | null = null;
  #capture: Capture | null = null;
  #launches = 0;
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #failure: Error | undefined;
  /**
   * That there was no memory for a buffer: every call that waits by then tells it, and the device goes on. Work that was
   * enqueued before may not have been done. Counted, so that each call knows which had been told when it began.
   */
  readonly #refusals: DeviceError[] = [];
  #toldRefusals = 0;

  readonly #isShared: boolean;
  readonly #onError: (event: Event) => void;

  /**
   * @param tier what the kernels may use; the device has its features
   * @param isShared whether others use the device too: it outlives this, and errors that nobody catches are told to all
   */
  constructor(
    device: GPUDevice,
    readonly tier: Tier,
    { isShared = false }: { isShared?: boolean } = {},
  ) {
    this.#isShared = isShared;
    this.#device = device;
    this.memory = new GpuMemory(device, {
      flush: () => this.flush(),
      check: (work) => this.#check(work),
      onRefused: (error) => this.#refusals.push(error),
    });
    this.#uniforms = device.createBuffer({ size: this.#blocks.length, usage: usage.uniform | usage.copyTarget });
    this.#timestamps = device.features.has("timestamp-query") ? new Timestamps(device) : null;
    this.#onError = (event) => {
      if (!isShared) event.preventDefault();
      // After the checks: what comes of a kernel that did not compile, or of a buffer that there was no memory for, says
      // less than their own errors.
      const error = deviceError((event as GPUUncapturedErrorEvent).error);
      this.#check(
        Promise.all(this.#checks).then(() => {
          if (this.#refusals.length > this.#toldRefusals) return;
          if (this.memory.refusal) this.#refusals.push(this.memory.refusal);
          else this.fail(error);
        }),
      );
    };
    device.addEventListener("uncapturederror", this.#onError);
    device.lost.then(({ reason, message }) => {
      const why = message.split("\n")[0]!.replace(/\.$/, "");
      const detail = `the GPU and all tensors on it are lost${why && `: ${why}`}. Open the device again`;
      this.fail(new DeviceError("device", `lost: ${reason}`, detail));
    });
  }

  /** What launchers choose the sizes of their kernels by. */
  get limits(): GPUSupportedLimits {
    return this.#device.limits;
  }

  /** Enqueues one kernel. */
  launch(request: KernelRequest, { groups, ...given }: Launch): void {
    if (groups === 0) return;
    const { declarations, buffers, block } = bindArguments(given);
    if (this.tier === "f32" && buffers.some(({ type }) => type.includes("f16"))) {
      throw new UnsupportedError(request.file, 'f16 needs the tier "subgroups" or "matrices"', "f32", "Use f32.");
    }
    const { pipeline, layout } = this.#kernel(request, declarations, buffers);
    const bindGroup = this.#device.createBindGroup({
      layout,
      entries: [
        { binding: 0, resource: { buffer: this.#uniforms, size: argumentBytes } },
        ...buffers.map(({ buffer }, n) => ({ binding: n + 1, resource: { buffer } })),
      ],
    });
    const prepared = { pipeline, bindGroup, block: new Uint8Array(block), groups };
    this.#capture?.launches.push(prepared);
    this.enqueue(prepared);
  }

  enqueue({ pipeline, bindGroup, block, groups }: Prepared): void {
    this.mustWork();
    if (this.#launches === launchesPerSubmit) this.flush();
    this.#blocks.set(block, this.#launches * argumentBytes);
    this.#pass ??= this.#commands().beginComputePass();
    this.#pass.setPipeline(pipeline);
    this.#pass.setBindGroup(0, bindGroup, [this.#launches * argumentBytes]);
    const rows = Math.ceil(groups / mostGroupsPerDimension);
    this.#pass.dispatchWorkgroups(Math.ceil(groups / rows), rows);
    this.#launches++;
  }

  /** Runs `run`, whose launches and scratch are the capture's. */
  capture(capture: Capture, run: () => void): void {
    this.#capture = capture;
    try {
      run();
    } finally {
      this.#capture = null;
    }
  }

  /** Submits all that is enqueued. */
  flush(): void {
    if (!this.#encoder) return;
    this.#endPass();
    // In order: the queue copies the blocks after the launches submitted before have read theirs.
    const used = this.#launches * argumentBytes;
    if (used > 0) this.#device.queue.writeBuffer(this.#uniforms, 0, this.#blocks, 0, used);
    this.#device.queue.submit([this.#encoder.finish()]);
    this.#encoder = null;
    this.#launches = 0;
  }

  /** Whether the GPU keeps time: `time` and `profile` need it. */
  get hasTimers(): boolean {
    return this.#timestamps !== null;
  }

  /** Milliseconds on the GPU from the end of all work enqueued before to the end of what `run` enqueues. */
  async time(run: () => void): Promise<number> {
    const start = this.#mark();
    run();
    const end = this.#mark();
    const times = await this.#times();
    return times[end]! - times[start]!;
  }

  /** Runs a launcher, between two marks of time while a profile is taken. */
  timed(op: string, launch: () => void): void {
    if (!this.#profile) {
      launch();
      return;
    }
    // Not the end of the op before: the GPU may have waited for the host between them.
    const start = this.#mark();
    launch();
    this.#profile.push({ op, start, end: this.#mark() });
  }

  /** What each op that `run` enqueues takes on the GPU, in milliseconds and in order. */
  async profile(run: () => void | Promise<void>): Promise<{ op: string; ms: number }[]> {
    const entries: { op: string; start: number; end: number }[] = [];
    // So that the first mark is not made while earlier work runs.
    await this.idle();
    this.#profile = entries;
    try {
      await run();
    } finally {
      this.#profile = null;
    }
    const times = await this.#times();
    return entries.map(({ op, start, end }) => ({ op, ms: times[end]! - times[start]! }));
  }

  /** Has the GPU note the time when all work enqueued so far has run. */
  #mark(): number {
    if (!this.#timestamps) {
      throw new UnsupportedError("profile", "the GPU must have timers", "no timestamp-query");
    }
    this.#endPass();
    return this.#timestamps.mark(this.#commands());
  }

  /** All times marked since the last call, in milliseconds. */
  async #times(): Promise<number[]> {
    const timestamps = this.#timestamps!;
    this.#endPass();
    const resolved = timestamps.resolve(this.#commands());
    timestamps.reset();
    const times = new BigUint64Array(await this.download(resolved, 0, resolved.bytes));
    resolved.buffer.destroy();
    return Array.from(times, (time) => Number(time - times[0]!) / 1e6);
  }

  /** Bytes, a multiple of 4, into a buffer, in order; `data` may be reused on return. */
  upload({ buffer }: GpuStorage, offsetBytes: number, data: ArrayBufferView<ArrayBuffer>): void {
    this.mustWork();
    if (data.byteLength === 0) return;
    this.flush();
    this.#device.queue.writeBuffer(buffer, offsetBytes, data.buffer, data.byteOffset, data.byteLength);
  }

  /** A copy of bytes, once all enqueued work has run. */
  async download({ buffer }: GpuStorage, offsetBytes: number, bytes: number): Promise<ArrayBuffer> {
    this.mustWork();
    const told = this.#toldRefusals;
    const staging = this.memory.create(bytes, usage.mapRead | usage.copyTarget);
    this.#endPass();
    this.#commands().copyBufferToBuffer(buffer, offsetBytes, staging, 0, bytes);
    this.flush();
    try {
      await staging.mapAsync(mapModeRead);
      await this.#checked(told);
      return staging.getMappedRange().slice(0);
    } catch (error) {
      await this.#checked(told);
      throw error instanceof DeviceError ? error : deviceError(error as Error);
    } finally {
      this.memory.destroy(staging);
    }
  }

  /** Resolves when all enqueued work has run. @throws DeviceError, KernelCompileError if any of it failed */
  async idle(): Promise<void> {
    this.mustWork();
    const told = this.#toldRefusals;
    this.flush();
    await this.#device.queue.onSubmittedWorkDone();
    await this.#checked(told);
  }

  allocate(bytes: number): GpuStorage {
    this.mustWork();
    return this.memory.allocate(bytes);
  }

  release(storage: GpuStorage): void {
    if (!this.#failure) this.memory.release(storage);
  }

  /** Runs `use` with memory that is its own until it returns, contents undefined: work runs in order. */
  withScratch(count: number, dtype: DType | "u32", use: (scratch: Operand) => void): void {
    const owner = this.#capture ?? this;
    const storage = owner.allocate((dtype === "u32" ? 4 : bytesPerElement[dtype]) * count);
    try {
      use({ storage, dtype, strides: [1], offset: 0 });
    } finally {
      owner.release(storage);
    }
  }

  /** A small table of constants, made at the first call with this key and kept as long as the device. */
  table(key: string, make: () => Uint32Array<ArrayBuffer>): Operand {
    let storage = this.#kept.get(key);
    if (!storage) {
      const data = make();
      const buffer = this.#device.createBuffer({ size: data.byteLength, usage: usage.storage | usage.copyTarget });
      storage = { buffer, bytes: data.byteLength };
      this.upload(storage, 0, data);
      this.#kept.set(key, storage);
    }
    return { storage, dtype: "u32", strides: [1], offset: 0 };
  }

  /** Makes every later call throw `error`. */
  fail(error: Error): void {
    this.#failure ??= error;
  }

  mustWork(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Makes every later call throw `reason`, and gives all memory back. */
  dispose(reason: Error): void {
    this.fail(reason);
    this.#pass = null;
    this.#encoder = null;
    if (!this.#isShared) {
      this.#device.destroy();
      return;
    }
    this.#device.removeEventListener("uncapturederror", this.#onError);
    this.memory.dispose();
    for (const buffer of [this.#uniforms, ...[...this.#kept.values()].map(({ buffer }) => buffer)]) buffer.destroy();
  }

  #commands(): GPUCommandEncoder {
    this.#encoder ??= this.#device.createCommandEncoder();
    return this.#encoder;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = null;
  }

  async #checked(toldBefore: number): Promise<void> {
    await Promise.all(this.#checks);
    this.mustWork();
    const refusal = this.#refusals[toldBefore];
    this.#toldRefusals = this.#refusals.length;
    if (refusal) throw refusal;
  }

  #kernel(
    { file, entry = file, uses = [], constants = {} }: KernelRequest,
    declarations: string,
    buffers: readonly { isWritten: boolean }[],
  ): Kernel {
    const prelude = Object.entries(constants).map(([name, value]) =>
      typeof value === "boolean" ? `const ${name}: bool = ${value};` : `const ${name}: u32 = ${value}u;`,
    );
    const specialised = [...prelude, declarations].join("\n");
    const key = `${file} ${entry}\n${specialised}`;
    const known = this.#kernels.get(key);
    if (known) return known;
    const text = unroll([...uses, file].map((name) => wgsl[name]!).join("\n"), constants);
    const code = [tierEnables[this.tier], specialised, common, text].join("\n");
    const kernel = this.#compile({ file, entry, code, buffers });
    this.#kernels.set(key, kernel);
    return kernel;
  }

  #compile({ file, entry, code, buffers }: Source): Kernel {
    const device = this.#device;
    const { maxStorageBuffersPerShaderStage: most } = device.limits;
    if (buffers.length > most) {
      throw new UnsupportedError(entry, `the GPU must bind ${buffers.length} buffers at once`, `${most}`);
    }
    device.pushErrorScope("validation");
    const compute = 4;
    const module = device.createShaderModule({ label: file, code });
    const layout = device.createBindGroupLayout({
      entries: [
        { binding: 0, visibility: compute, buffer: { type: "uniform", hasDynamicOffset: true } },
        ...buffers.map(({ isWritten }, n) => ({
          binding: n + 1,
          visibility: compute,
          buffer: { type: isWritten ? ("storage" as const) : ("read-only-storage" as const) },
        })),
      ],
    });
    const pipeline = device.createComputePipeline({
      label: `${file} ${entry}`,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: entry },
    });
    this.#check(
      device.popErrorScope().then((error) => {
        if (error) this.fail(new KernelCompileError(`${file}.wgsl`, error.message, numbered(code)));
      }),
    );
    return { pipeline, layout };
  }

  /** Has calls that wait wait for this too. */
  #check(work: Promise<void>): void {
    // It fails only if the device is lost, which says more.
    const check: Promise<void> = work.catch(() => {}).finally(() => this.#checks.delete(check));
    this.#checks.add(check);
  }
}

interface Source {
  readonly file: string;
  readonly entry: string;
  readonly code: string;
  readonly buffers: readonly { isWritten: boolean }[];
}

function numbered(code: string): string {
  return code
    .split("\n")
    .map((line, n) => `${String(n + 1).padStart(4)}  ${line}`)
    .join("\n");
}

function deviceError(error: Error | GPUError): DeviceError {
  const code = error.constructor.name;
  const firstLine = error.message.split("\n")[0]!.replace(/\.$/, "");
  return new DeviceError("webgpu", code, code === "GPUOutOfMemoryError" ? `out of memory: ${firstLine}` : firstLine);
}
