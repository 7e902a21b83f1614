import { type Capabilities, Device } from "../device/device.ts";
import type { Ops } from "../device/ops.ts";
import type { DType, Storage, Tensor } from "../tensor.ts";
import { attentionOps } from "./attentionOps.ts";
import { embeddingOps } from "./embeddingOps.ts";
import { decodeBits, memoryOps } from "./memoryOps.ts";
import { normalisationOps } from "./normalisationOps.ts";
import { optimizerOps } from "./optimizerOps.ts";
import { positionOps } from "./positionOps.ts";
import { productOps } from "./productOps.ts";
import { sparsityOps } from "./sparsityOps.ts";
import { arithmetic, flat, type Precision, ReferenceStorage, rows } from "./values.ts";

/**
 * The oracle: a device whose tensors hold float64 and whose ops are plain loops, run at once. Slow, and meant to be read.
 * @param precision `f32` computes the same in float32, one operation after another: the straightforward computation whose
 * error against the oracle is the yardstick for other devices
 */
export function openReferenceDevice({ precision = "f64" }: { precision?: Precision } = {}): Device {
  return new ReferenceDevice(precision);
}

/** The values of a reference tensor, at full precision, in row-major order of its shape. */
export function referenceValues(tensor: Tensor<DType>): Float64Array {
  const values = new Float64Array(tensor.size);
  let end = 0;
  for (const r of rows(tensor)) {
    values.set(r, end);
    end += r.length;
  }
  return values;
}

/** Replaces the values of a contiguous reference tensor, at full precision. */
export function setReferenceValues(tensor: Tensor<DType>, values: ArrayLike<number>): void {
  flat(tensor).set(values);
}

class ReferenceDevice extends Device {
  readonly description: string;
  readonly capabilities: Capabilities = {
    floatTypes: ["f32"],
    tensorTypes: ["f32", "f16", "bf16"],
    maxTensorBytes: 2 ** 31,
    deterministic: true,
    chunkBytes: 2 ** 27,
  };
  readonly memory = { bytes: 0, peakBytes: 0 };
  readonly #precision: Precision;

  constructor(precision: Precision) {
    super(referenceOps(precision));
    this.#precision = precision;
    this.description = `reference (${precision === "f64" ? "float64" : "float32"}, one thread)`;
  }

  protected allocate(bytes: number): Storage {
    this.memory.bytes += bytes;
    this.memory.peakBytes = Math.max(this.memory.peakBytes, this.memory.bytes);
    return new ReferenceStorage(bytes, this.#precision);
  }

  release(storage: Storage): void {
    this.memory.bytes -= storage.bytes;
    (storage as ReferenceStorage).release();
  }

  protected upload(target: Tensor<DType>, data: Float32Array | Int32Array | Uint16Array): void {
    const values = data instanceof Uint16Array ? decodeAll(data, target.dtype as "f16" | "bf16") : data;
    flat(target).set(values);
  }

  protected async download(source: Tensor<DType>): Promise<Float32Array | Int32Array> {
    const values = referenceValues(source);
    return source.dtype === "i32" ? Int32Array.from(values) : Float32Array.from(values);
  }

  async synchronize(): Promise<void> {}

  dispose(): void {}
}

function referenceOps(precision: Precision): Ops {
  const numbers = arithmetic[precision];
  return {
    ...memoryOps,
    ...embeddingOps,
    ...normalisationOps(numbers),
    ...productOps(numbers),
    ...positionOps,
    ...sparsityOps(numbers),
    ...attentionOps(numbers),
    ...optimizerOps(numbers),
  };
}

function decodeAll(bits: Uint16Array, dtype: "f16" | "bf16"): Float64Array {
  return Float64Array.from(bits, (b) => decodeBits(b, dtype));
}
