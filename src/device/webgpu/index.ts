import { DeviceError, UnsupportedError } from "../../errors.ts";
import { bytesPerElement, type DType, type Storage, type Tensor } from "../../tensor.ts";
import { type Capabilities, Device } from "../device.ts";
import { copy } from "./copy.ts";
import { findGpu, type Gpu } from "./dawn.ts";
import type { GpuStorage } from "./memory.ts";
import { webgpuOps } from "./ops.ts";
import { WebgpuRuntime } from "./runtime.ts";

/** Limits that are asked for as far as the adapter has them. */
const wantedLimits = [
  "maxStorageBuffersPerShaderStage",
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
] as const;

/**
 * Opens a GPU through WebGPU: in Node through Dawn, in a page through the browser. Computes in f32.
 * @throws UnsupportedError if there is no WebGPU here, or no GPU behind it
 */
export async function openWebgpuDevice(): Promise<WebgpuDevice> {
  const gpu = await findGpu();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    const fix = "Install the driver of a GPU, with Vulkan, Metal or Direct3D 12.";
    throw new UnsupportedError("openDevice", "WebGPU must find a GPU", "no adapter", fix);
  }
  const requiredLimits = Object.fromEntries(wantedLimits.map((name) => [name, adapter.limits[name]]));
  try {
    return new WebgpuDevice({ gpu, adapter, device: await adapter.requestDevice({ requiredLimits }) });
  } catch (error) {
    throw new DeviceError("requestDevice", "refused", error instanceof Error ? error.message : String(error));
  }
}

/** Tensors in buffers of a GPU, ops as compute shaders in one queue. Opened by `openWebgpuDevice`. */
export class WebgpuDevice extends Device {
  readonly description: string;
  readonly capabilities: Capabilities;
  readonly #runtime: WebgpuRuntime;
  /** Dawn ends with it, and Node does not while it is referenced. */
  #gpu: Gpu | null;

  constructor({ gpu, adapter, device }: { gpu: Gpu; adapter: GPUAdapter; device: GPUDevice }) {
    const runtime = new WebgpuRuntime(device);
    super(webgpuOps(runtime));
    this.#runtime = runtime;
    this.#gpu = gpu;
    const { description, vendor, architecture, device: name } = adapter.info;
    const facts = [description || name, vendor, architecture].filter((fact) => fact !== "");
    this.description = `webgpu (${facts.join(", ") || "a GPU that the browser does not name"})`;
    this.capabilities = {
      floatTypes: ["f32"],
      maxTensorBytes: runtime.memory.maxBytes,
      deterministic: true,
      chunkBytes: 2 ** 27,
    };
  }

  get memory(): { readonly bytes: number; readonly peakBytes: number } {
    const { bytes, peakBytes } = this.#runtime.memory;
    return { bytes, peakBytes };
  }

  protected override allocate(bytes: number): Storage {
    return this.#runtime.allocate(bytes);
  }

  override release(storage: Storage): void {
    this.#runtime.release(storage as GpuStorage);
  }

  protected override upload(target: Tensor<DType>, data: Float32Array | Int32Array | Uint16Array): void {
    const width = fourBytes("write", target);
    this.#runtime.upload(target.storage as GpuStorage, target.offset * width, asPlain(data));
  }

  protected override async download(source: Tensor<DType>): Promise<Float32Array | Int32Array> {
    const width = fourBytes("read", source);
    const { size, dtype } = source;
    let bytes = new ArrayBuffer(0);
    if (size === 0) this.#runtime.mustWork();
    else if (source.isContiguous) {
      bytes = await this.#runtime.download(source.storage as GpuStorage, source.offset * width, size * width);
    } else {
      const values = this.empty(source.shape, dtype);
      try {
        copy(this.#runtime, { x: source, out: values });
        bytes = await this.#runtime.download(values.storage as GpuStorage, 0, size * width);
      } finally {
        values.dispose();
      }
    }
    return dtype === "i32" ? new Int32Array(bytes) : new Float32Array(bytes);
  }

  override synchronize(): Promise<void> {
    return this.#runtime.idle();
  }

  override dispose(): void {
    if (!this.#gpu) return;
    this.#runtime.dispose(new DeviceError("device", "disposed", "the WebGPU device was disposed of"));
    this.#gpu = null;
  }
}

function fourBytes(op: string, { dtype }: Tensor<DType>): number {
  if (dtype === "f32" || dtype === "i32") return bytesPerElement[dtype];
  throw new UnsupportedError(op, "tensors are f32 or i32 on this device", dtype, "Use f32.");
}

/** The same bytes, in memory that is not shared: WebGPU takes no other. */
function asPlain(data: Float32Array | Int32Array | Uint16Array): ArrayBufferView<ArrayBuffer> {
  return data.buffer instanceof ArrayBuffer ? (data as ArrayBufferView<ArrayBuffer>) : data.slice();
}
