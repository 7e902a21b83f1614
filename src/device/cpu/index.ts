import { DeviceError, ShapeError, UnsupportedError } from "../../errors.ts";
import { bytesPerElement, type DType, type Storage, Tensor } from "../../tensor.ts";
import { type Capabilities, Device } from "../device.ts";
import { copy } from "./copy.ts";
import { fromHalfBits, toHalfBits } from "./half.ts";
import type { CpuStorage } from "./heap.ts";
import { layout } from "./layout.ts";
import { cpuOps } from "./ops.ts";
import { CpuRuntime } from "./runtime.ts";
import { compileKernels, createMemory, hasRelaxedSimd, type SimdLevel } from "./wasm.ts";
import { availableCores, startWorkers, threadsAvailable } from "./workers.ts";

export interface CpuOptions {
  /** Threads that compute; all cores if left out. Results are the same with any number. */
  readonly threads?: number;
  /** Instruction set: with relaxed multiply-add or without; by default the best that the engine has. */
  readonly simd?: SimdLevel;
}

/**
 * Opens the CPU device: WebAssembly SIMD kernels on a pool of workers, in Node and in pages. A page that is not
 * cross-origin isolated has no memory to share, so there everything runs on the calling thread.
 * @throws UnsupportedError if the engine lacks what is asked for; ShapeError if `threads` is not a count
 */
export async function openCpuDevice({ threads, simd }: CpuOptions = {}): Promise<CpuDevice> {
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    throw new ShapeError("openCpuDevice", "threads must be a whole number >= 1", `${threads}`);
  }
  if (simd === "relaxed" && !hasRelaxedSimd()) {
    throw new UnsupportedError("openCpuDevice", "this engine must have relaxed SIMD", "none", 'Use simd: "simd".');
  }
  const level = simd ?? (hasRelaxedSimd() ? "relaxed" : "simd");
  const shared = threadsAvailable();
  const module = await compileKernels(level, { shared });
  const { memory, limitBytes } = createMemory({ shared });
  const early: string[] = [];
  let onError = (reason: string): void => void early.push(reason);
  const workers = shared
    ? await startWorkers({ module, memory, threads: threads ?? availableCores() }, (reason) => onError(reason))
    : [];
  const runtime = new CpuRuntime({ module, memory, limitBytes, workers });
  onError = (reason) => runtime.fail(new DeviceError("worker", "failed", reason));
  for (const reason of early) onError(reason);
  return new CpuDevice(runtime, level);
}

/** Tensors in WebAssembly memory, ops as commands to a pool of workers. Opened by `openCpuDevice`. */
export class CpuDevice extends Device {
  readonly description: string;
  readonly capabilities: Capabilities;
  readonly #runtime: CpuRuntime;

  constructor(runtime: CpuRuntime, simd: SimdLevel) {
    super(cpuOps(runtime));
    this.#runtime = runtime;
    const threads = `${runtime.threads} thread${runtime.threads === 1 ? "" : "s"}`;
    this.description = `cpu (${threads}, ${simd === "relaxed" ? "relaxed SIMD" : "SIMD"})`;
    this.capabilities = {
      floatTypes: ["f32"],
      tensorTypes: ["f32", "f16", "bf16"],
      maxTensorBytes: runtime.heap.limitBytes - layout.heap,
      deterministic: true,
      chunkBytes: 2 ** 27,
    };
  }

  /** Threads that compute. */
  get threads(): number {
    return this.#runtime.threads;
  }

  get memory(): { readonly bytes: number; readonly peakBytes: number } {
    const { bytes, peakBytes } = this.#runtime.heap;
    return { bytes, peakBytes };
  }

  protected override allocate(bytes: number): Storage {
    return this.#runtime.allocate(bytes);
  }

  override release(storage: Storage): void {
    this.#runtime.release(storage as CpuStorage);
  }

  protected override upload(target: Tensor<DType>, data: Float32Array | Int32Array | Uint16Array): void {
    this.#runtime.mustWork();
    if (data.length === 0) return;
    const bytes = encode(data, target.dtype);
    const { heap, completed } = this.#runtime;
    const storage = target.storage as CpuStorage;
    if (storage.lastUse <= completed) {
      this.#runtime.bytes.set(bytes, addressOf(target));
      return;
    }
    // Commands still to run may read the old values, so the new ones go by the stream, from memory nobody else reads.
    const staging = heap.allocate(bytes.length, { retired: completed });
    this.#runtime.bytes.set(bytes, staging.address);
    copy(this.#runtime, { x: new Tensor(this, staging, target.dtype, target.shape), out: target });
    heap.release(staging);
  }

  protected override async download(source: Tensor<DType>): Promise<Float32Array | Int32Array> {
    this.#runtime.mustWork();
    const { heap } = this.#runtime;
    if (source.isContiguous && (source.storage as CpuStorage).lastUse <= this.#runtime.completed) {
      return this.#decode(source);
    }
    // A copy in stream order: commands enqueued while we wait may change the tensor, or its memory may be released.
    const staging = heap.allocate(source.size * bytesPerElement[source.dtype]);
    try {
      const values = new Tensor(this, staging, source.dtype, source.shape);
      copy(this.#runtime, { x: source, out: values });
      await this.#runtime.idle();
      return this.#decode(values);
    } finally {
      heap.release(staging);
    }
  }

  override synchronize(): Promise<void> {
    return this.#runtime.idle();
  }

  override dispose(): void {
    this.#runtime.fail(new DeviceError("device", "disposed", "the CPU device was disposed of"));
  }

  #decode(tensor: Tensor<DType>): Float32Array | Int32Array {
    const start = addressOf(tensor);
    const bytes = this.#runtime.bytes.slice(start, start + tensor.size * bytesPerElement[tensor.dtype]);
    const { dtype } = tensor;
    if (dtype === "i32") return new Int32Array(bytes.buffer);
    if (dtype === "f32") return new Float32Array(bytes.buffer);
    return Float32Array.from(new Uint16Array(bytes.buffer), (half) => fromHalfBits(half, dtype));
  }
}

function addressOf(tensor: Tensor<DType>): number {
  return (tensor.storage as CpuStorage).address + tensor.offset * bytesPerElement[tensor.dtype];
}

function encode(data: Float32Array | Int32Array | Uint16Array, dtype: DType): Uint8Array {
  const stored =
    data instanceof Float32Array && (dtype === "f16" || dtype === "bf16")
      ? Uint16Array.from(data, (value) => toHalfBits(value, dtype))
      : data;
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}
