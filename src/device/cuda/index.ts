import { DeviceError, ShapeError, UnsupportedError } from "../../errors.ts";
import { bytesPerElement, type DType, type Storage, Tensor } from "../../tensor.ts";
import { type Capabilities, Device, type Recording } from "../device.ts";
import { cast } from "./cast.ts";
import { copy } from "./copy.ts";
import { loadCublasLt } from "./cublaslt.ts";
import { type Driver, loadDriver, readHandle } from "./driver.ts";
import { readFacts } from "./facts.ts";
import { addressOf, type CudaStorage } from "./kernel_arguments.ts";
import { type Compiler, loadNvrtc } from "./nvrtc.ts";
import { cudaOps } from "./ops.ts";
import { CudaRecording } from "./recording.ts";
import { CudaRuntime } from "./runtime.ts";
import { Transfers } from "./transfers.ts";

export interface CudaOptions {
  /** Which GPU, counted from 0 among those that CUDA_VISIBLE_DEVICES leaves; default 0. */
  readonly gpu?: number;
  /** Equal bits run to run, where the fastest kernels add in no fixed order; default false. */
  readonly deterministic?: boolean;
}

/**
 * Opens an NVIDIA GPU through its driver, NVRTC and cuBLASLt. Kernels are compiled at first use and kept on disk.
 * @throws UnsupportedError if one of them is not there or too old, with what to install; ShapeError if `gpu` is no number
 */
export async function openCudaDevice({ gpu = 0, deterministic = false }: CudaOptions = {}): Promise<CudaDevice> {
  if (!Number.isInteger(gpu) || gpu < 0)
    throw new ShapeError("openDevice", "gpu must be a whole number >= 0", `${gpu}`);
  const driver = await loadDriver();
  const facts = readFacts(driver, gpu);
  const compiler = await loadNvrtc();
  const products = await loadCublasLt();
  const context = readHandle((at) => driver.call("cuDevicePrimaryCtxRetain", at, facts.device));
  return new CudaDevice({
    driver,
    compiler,
    runtime: new CudaRuntime({ driver, compiler, products, facts, context, deterministic }),
  });
}

/** Tensors in GPU memory, ops as kernels in one stream. Opened by `openCudaDevice`. */
export class CudaDevice extends Device {
  readonly description: string;
  readonly capabilities: Capabilities;
  override readonly libraries: Readonly<Record<string, string>>;
  readonly #runtime: CudaRuntime;
  readonly #transfers: Transfers;

  constructor({ driver, compiler, runtime }: { driver: Driver; compiler: Compiler; runtime: CudaRuntime }) {
    super(cudaOps(runtime));
    this.#runtime = runtime;
    this.#transfers = new Transfers(runtime);
    const { facts, deterministic } = runtime;
    const { major, minor } = facts.computeCapability;
    const gib = (facts.memoryBytes / 2 ** 30).toFixed(0);
    this.description = `cuda (${facts.name}, ${gib} GiB, compute capability ${major}.${minor}, driver CUDA ${facts.driverVersion}, NVRTC ${compiler.version}, cuBLASLt ${runtime.products.version}${deterministic ? ", deterministic" : ""})`;
    this.libraries = { driver: driver.path, nvrtc: compiler.path, cublasLt: runtime.products.path };
    this.capabilities = {
      floatTypes: ["bf16", "f16"],
      tensorTypes: ["f32", "f16", "bf16"],
      maxTensorBytes: facts.memoryBytes,
      deterministic,
      chunkBytes: 2 ** 30,
    };
  }

  get memory(): { readonly bytes: number; readonly peakBytes: number } {
    const { bytes, peakBytes } = this.#runtime.memory;
    return { bytes, peakBytes };
  }

  protected override allocate(bytes: number): Storage {
    this.#notWhileCapturing("make a tensor");
    return this.#runtime.allocate(bytes);
  }

  override release(storage: Storage): void {
    this.#runtime.release(storage as CudaStorage);
  }

  protected override upload(target: Tensor<DType>, data: Float32Array | Int32Array | Uint16Array): void {
    this.#notWhileCapturing("write a tensor");
    const isNarrowed = data instanceof Float32Array && (target.dtype === "f16" || target.dtype === "bf16");
    const chunk = this.#transfers.uploadBytes / data.BYTES_PER_ELEMENT;
    for (let start = 0; start < data.length; start += chunk) {
      const part = data.subarray(start, start + chunk);
      const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
      const to = target.view([part.length], { offset: start });
      if (!isNarrowed) {
        this.#transfers.upload(addressOf(to), bytes);
        continue;
      }
      // Rounding is the device's work: it is many times faster there.
      this.#runtime.withScratch(bytes.length, (address) => {
        this.#transfers.upload(address, bytes);
        cast(this.#runtime, { x: this.#temporary(address, "f32", [part.length]), out: to as Tensor });
      });
    }
  }

  protected override async download(source: Tensor<DType>): Promise<Float32Array | Int32Array> {
    this.#notWhileCapturing("read a tensor");
    this.#runtime.mustWork();
    const { size, dtype } = source;
    const isNarrow = dtype === "f16" || dtype === "bf16";
    if (size === 0) return dtype === "i32" ? new Int32Array(0) : new Float32Array(0);
    const bytes = await this.#runtime.withScratch(size * bytesPerElement[dtype], (rowsAt) => {
      let values = source;
      if (!source.isContiguous) {
        values = this.#temporary(rowsAt, dtype, source.shape);
        copy(this.#runtime, { x: source, out: values });
      }
      if (!isNarrow) return this.#transfers.download(addressOf(values), 4 * size);
      return this.#runtime.withScratch(4 * size, (wideAt) => {
        cast(this.#runtime, { x: values as Tensor, out: this.#temporary(wideAt, "f32", source.shape) });
        return this.#transfers.download(wideAt, 4 * size);
      });
    });
    return dtype === "i32" ? new Int32Array(bytes.buffer) : new Float32Array(bytes.buffer);
  }

  override synchronize(): Promise<void> {
    return this.#runtime.idle();
  }

  override record(run: () => void): Recording {
    return new CudaRecording(this.#runtime, run);
  }

  override async time(run: () => void): Promise<number> {
    const start = this.#runtime.mark({ timing: true });
    run();
    const end = this.#runtime.mark({ timing: true });
    await this.#runtime.reached(end);
    const ms = this.#runtime.elapsed(start, end);
    this.#runtime.destroyEvents(start, end);
    return ms;
  }

  /**
   * What each op that `run` enqueues takes on the GPU, in milliseconds and in order. Recorded work is not seen: profile
   * what the recording is made of.
   */
  profile(run: () => void | Promise<void>): Promise<{ op: string; ms: number }[]> {
    return this.#runtime.profile(run);
  }

  override dispose(): void {
    this.#runtime.dispose(new DeviceError("device", "disposed", "the CUDA device was disposed of"));
  }

  #temporary<D extends DType>(address: number, dtype: D, shape: readonly number[]): Tensor<D> {
    const storage: CudaStorage = { address, bytes: shape.reduce((n, d) => n * d, 1) * bytesPerElement[dtype] };
    return new Tensor(this, storage, dtype, [...shape]);
  }

  #notWhileCapturing(what: string): void {
    if (!this.#runtime.isCapturing) return;
    const fix = "Do it before or after the recording.";
    throw new UnsupportedError("record", "recorded work does nothing but enqueue ops", `a call to ${what}`, fix);
  }
}
