import { DeviceError, UnsupportedError } from "../../errors.ts";
import { bytesPerElement, type DType, type Storage, type Tensor } from "../../tensor.ts";
import { type Capabilities, Device, type Recording } from "../device.ts";
import { copy } from "./copy.ts";
import { findGpu } from "./dawn.ts";
import type { GpuStorage } from "./memory.ts";
import { webgpuOps } from "./ops.ts";
import { WebgpuRecording } from "./recording.ts";
import { WebgpuRuntime } from "./runtime.ts";
import { lacks, type Tier, tierFeatures, tiers } from "./tier.ts";

const tierNames: Readonly<Record<Tier, string>> = {
  f32: "f32",
  subgroups: "f16, subgroups",
  matrices: "f16, subgroup matrices",
};

/** Limits that are asked for as far as the adapter has them. */
const wantedLimits = [
  "maxStorageBuffersPerShaderStage",
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
] as const;

/** Features that are asked for where the adapter has them. */
const optionalFeatures = ["timestamp-query"] as const;

export interface WebgpuOptions {
  /** The highest tier to use; the GPU's highest if left out. */
  readonly tier?: Tier;
  /** Whether to refuse a GPU in software, as SwiftShader is; default false. */
  readonly onlyHardware?: boolean;
  /**
   * Another library's device, to share its buffers; a new one if left out. It is never destroyed, and must have been made
   * with the features and limits that `deviceDescriptor` names, or with fewer: then with a lower tier, and with less memory.
   */
  readonly device?: GPUDevice;
}

/**
 * Opens a GPU through WebGPU: in Node through Dawn, in a page through the browser; or shares a device that is open.
 * @throws UnsupportedError if there is no WebGPU here, no GPU behind it, or if it has not the tier asked for
 */
export async function openWebgpuDevice({ device: theirs, ...options }: WebgpuOptions = {}): Promise<WebgpuDevice> {
  if (theirs) {
    const tier = chooseTier({ features: theirs.features, info: theirs.adapterInfo }, options.tier);
    return new WebgpuDevice({ device: theirs, info: theirs.adapterInfo, tier, isShared: true });
  }
  const gpu = await findGpu();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    const fix = "Install the driver of a GPU, with Vulkan, Metal or Direct3D 12.";
    throw new UnsupportedError("openDevice", "WebGPU must find a GPU", "no adapter", fix);
  }
  const { info } = adapter;
  if (options.onlyHardware && info.isFallbackAdapter) {
    const fix = 'Ask for "webgpu" by name to use it.';
    throw new UnsupportedError("openDevice", "the GPU must be one in hardware", nameOf(info), fix);
  }
  const tier = chooseTier(adapter, options.tier);
  try {
    const device = await adapter.requestDevice(deviceDescriptor(adapter, { tier }));
    return new WebgpuDevice({ device, info, tier });
  } catch (error) {
    throw new DeviceError("requestDevice", "refused", error instanceof Error ? error.message : String(error));
  }
}

/**
 * What `adapter.requestDevice` is to be asked for, by whoever makes a device that is shared: the features of the tier and
 * the limits of the GPU that decide how large tensors may be and which kernels run.
 * @throws UnsupportedError if the adapter has not the tier
 */
export function deviceDescriptor(
  adapter: GPUAdapter,
  { tier }: Pick<WebgpuOptions, "tier"> = {},
): Required<Pick<GPUDeviceDescriptor, "requiredFeatures" | "requiredLimits">> {
  const optional = optionalFeatures.filter((name) => adapter.features.has(name));
  return {
    requiredFeatures: [...tierFeatures[chooseTier(adapter, tier)], ...optional] as GPUFeatureName[],
    requiredLimits: Object.fromEntries(wantedLimits.map((name) => [name, adapter.limits[name]])),
  };
}

/** The tier asked for, else the highest. @throws UnsupportedError if the GPU has it not */
function chooseTier(gpu: Pick<GPUAdapter, "features" | "info">, wanted: Tier | undefined): Tier {
  if (wanted !== undefined && !tiers.includes(wanted)) {
    const known = tiers.map((tier) => `"${tier}"`).join(", ");
    throw new UnsupportedError("openDevice", `a tier is one of ${known}`, `"${wanted}"`);
  }
  const tier = wanted ?? [...tiers].reverse().find((candidate) => lacks(candidate, gpu).length === 0)!;
  const missing = lacks(tier, gpu);
  if (missing.length === 0) return tier;
  const fix = "Leave the tier out to use the GPU's highest.";
  throw new UnsupportedError("openDevice", `the GPU must have the tier "${tier}"`, `no ${missing.join(", no ")}`, fix);
}

function nameOf({ description, device, vendor, architecture, isFallbackAdapter }: GPUAdapterInfo): string {
  const facts = [description || device, vendor, architecture, isFallbackAdapter ? "in software" : ""];
  return facts.filter((fact) => fact !== "").join(", ") || "a GPU that the browser does not name";
}

interface WebgpuDeviceParts {
  readonly device: GPUDevice;
  readonly info: GPUAdapterInfo;
  readonly tier: Tier;
  readonly isShared?: boolean;
}

/** Tensors in buffers of a GPU, ops as compute shaders in one queue. Opened by `openWebgpuDevice`. */
export class WebgpuDevice extends Device {
  readonly description: string;
  readonly capabilities: Capabilities;
  readonly #runtime: WebgpuRuntime;
  #isDisposed = false;

  constructor({ device, info, tier, isShared = false }: WebgpuDeviceParts) {
    const runtime = new WebgpuRuntime(device, tier, { isShared });
    super(webgpuOps(runtime));
    this.#runtime = runtime;
    this.description = `webgpu (${nameOf(info)}; ${tierNames[tier]})`;
    this.capabilities = {
      floatTypes: tier === "f32" ? ["f32"] : ["f16", "f32"],
      tensorTypes: tier === "f32" ? ["f32"] : ["f16", "f32"],
      maxTensorBytes: runtime.memory.maxBytes,
      deterministic: true,
      chunkBytes: Math.max(2 ** 26, Math.min(2 ** 29, runtime.memory.maxBytes / 4)),
      warmUpMs: 100,
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
    if (data.length === 0) {
      this.#runtime.mustWork();
      return;
    }
    const plain = asPlain(data);
    if (bytesPerElement[target.dtype] === 4) {
      this.#runtime.upload(target.storage as GpuStorage, target.offset * 4, plain);
      return;
    }
    // Rounding is the GPU's work, and it copies no odd number of halves: both pass through a tensor of their own.
    const dtype = data instanceof Float32Array ? "f32" : target.dtype;
    const values = this.empty(target.shape, dtype);
    try {
      this.#runtime.upload(values.storage as GpuStorage, 0, data instanceof Uint16Array ? evenLength(data) : plain);
      copy(this.#runtime, { x: values, out: target });
    } finally {
      values.dispose();
    }
  }

  protected override async download(source: Tensor<DType>): Promise<Float32Array | Int32Array> {
    const { size, dtype, shape } = source;
    let bytes = new ArrayBuffer(0);
    if (size === 0) this.#runtime.mustWork();
    else if (source.isContiguous && dtype !== "f16") {
      bytes = await this.#runtime.download(source.storage as GpuStorage, source.offset * 4, size * 4);
    } else {
      const values = this.empty(shape, dtype === "i32" ? "i32" : "f32");
      try {
        copy(this.#runtime, { x: source, out: values });
        bytes = await this.#runtime.download(values.storage as GpuStorage, 0, size * 4);
      } finally {
        values.dispose();
      }
    }
    return dtype === "i32" ? new Int32Array(bytes) : new Float32Array(bytes);
  }

  override synchronize(): Promise<void> {
    return this.#runtime.idle();
  }

  override record(run: () => void): Recording {
    return new WebgpuRecording(this.#runtime, run);
  }

  override time(run: () => void): Promise<number> {
    return this.#runtime.hasTimers ? this.#runtime.time(run) : super.time(run);
  }

  /**
   * What each op that `run` enqueues takes on the GPU, in milliseconds and in order.
   * @throws UnsupportedError if the GPU has no timers
   */
  profile(run: () => void | Promise<void>): Promise<{ op: string; ms: number }[]> {
    return this.#runtime.profile(run);
  }

  /**
   * Submits all ops that are enqueued: whoever shares the GPUDevice calls it before he submits work that reads or
   * overwrites a tensor's buffer.
   */
  flush(): void {
    this.#runtime.mustWork();
    this.#runtime.flush();
  }

  override dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#runtime.dispose(new DeviceError("device", "disposed", "the WebGPU device was disposed of"));
  }
}

/** With one half more where their number is odd. */
function evenLength(halves: Uint16Array): ArrayBufferView<ArrayBuffer> {
  const even = new Uint16Array(halves.length + (halves.length % 2));
  even.set(halves);
  return even;
}

/** The same bytes, in memory that is not shared: WebGPU takes no other. */
function asPlain(data: Float32Array | Int32Array | Uint16Array): ArrayBufferView<ArrayBuffer> {
  return data.buffer instanceof ArrayBuffer ? (data as ArrayBufferView<ArrayBuffer>) : data.slice();
}
