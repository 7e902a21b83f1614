import { DTypeError, ShapeError, UnsupportedError } from "../errors.ts";
import { bytesPerElement, type DType, type FloatType, type HostArray, type Storage, Tensor } from "../tensor.ts";
import { checked } from "./contracts.ts";
import type { Ops } from "./ops.ts";

/** What shared code may ask before it chooses a path; never the device's name. */
export interface Capabilities {
  /** Float types that `ops` compute in; the first is the one to use if nobody says otherwise. */
  readonly floatTypes: readonly FloatType[];
  /** Float types that tensors may have, if only to be filled, copied and cast. */
  readonly tensorTypes: readonly FloatType[];
  /** The largest single tensor, in bytes. */
  readonly maxTensorBytes: number;
  /** Runs of the same inputs give the same bits. */
  readonly deterministic: boolean;
  /** A good size, in bytes, for a buffer of intermediate values that is filled in chunks, as logits are. */
  readonly chunkBytes: number;
}

/** Ops to be enqueued again and again; made by `Device.record`. */
export interface Recording {
  /** Enqueues the ops once, in order with all other work. @throws UnsupportedError after `dispose` */
  replay(): void;
  /** Gives back what the device holds for it; its tensors are the caller's. */
  dispose(): void;
}

/**
 * A place where tensors live and ops run. Ops are enqueued in order and return at once; only `read` and `synchronize`
 * wait. A device folder supplies what is abstract here, and the `Ops`.
 */
export abstract class Device {
  /** For logs: what was opened, for example `cpu (2 threads, relaxed SIMD)`. */
  abstract readonly description: string;
  abstract readonly capabilities: Capabilities;
  /** Libraries of the system that the device runs on, by name, and where each was found. */
  readonly libraries: Readonly<Record<string, string>> = {};
  /** Bytes now held by tensors and scratch, and the most there ever were. */
  abstract readonly memory: { readonly bytes: number; readonly peakBytes: number };

  /** Raw device memory; contents undefined. @throws DeviceError when there is none left */
  protected abstract allocate(bytes: number): Storage;
  abstract release(storage: Storage): void;
  /** Copies elements into contiguous device memory, in order with enqueued work; `data` may be reused on return. */
  protected abstract upload(target: Tensor<DType>, data: Float32Array | Int32Array | Uint16Array): void;
  /** The values of a (possibly strided) tensor in row-major order, once all enqueued work has run. */
  protected abstract download(source: Tensor<DType>): Promise<Float32Array | Int32Array>;
  /** Resolves when all enqueued work has run. @throws DeviceError if any of it failed */
  abstract synchronize(): Promise<void>;
  /** Gives everything back; tensors of this device are dead afterwards. */
  abstract dispose(): void;

  /**
   * The ops that `run` enqueues, to be enqueued again by `replay`. A device may capture them, so that a replay costs no
   * host work between launches; it may run them as they are, once or more, before it does. So `run` must enqueue the
   * same ops with the same numbers on the same tensors each time, and neither create, dispose, read nor write tensors:
   * what changes from replay to replay stands in tensors that are written between replays. The tensors must live as
   * long as the recording. `record` itself runs nothing.
   */
  record(run: () => void): Recording {
    let disposed = false;
    return {
      replay() {
        if (disposed) {
          throw new UnsupportedError("record", "a recording in use must not be disposed", "a disposed one");
        }
        run();
      },
      dispose() {
        disposed = true;
      },
    };
  }

  /**
   * Milliseconds that the work which `run` enqueues takes, from the end of all work enqueued before. By the host's clock
   * here, the cost of enqueuing included; a device with timers of its own measures on the device.
   */
  async time(run: () => void): Promise<number> {
    await this.synchronize();
    const start = performance.now();
    run();
    await this.synchronize();
    return performance.now() - start;
  }

  /** The operations, with shapes and dtypes checked once, here, for every device. */
  readonly ops: Ops;

  protected constructor(ops: Ops) {
    this.ops = checked(ops, this);
  }

  /**
   * A tensor with the given values.
   * @param data Float32Array for a float type, Int32Array for i32, Uint16Array for raw f16 or bf16 bits
   * @param dtype inferred from the array if left out: f32 or i32
   * @throws ShapeError if the shape does not hold as many values; DTypeError if array and dtype do not go together
   */
  tensor(data: Float32Array, shape: readonly number[], dtype?: FloatType): Tensor;
  tensor(data: Uint16Array, shape: readonly number[], dtype: "f16" | "bf16"): Tensor;
  tensor(data: Int32Array, shape: readonly number[], dtype?: "i32"): Tensor<"i32">;
  tensor(data: Float32Array | Int32Array | Uint16Array, shape: readonly number[], dtype?: DType): Tensor<DType> {
    if (dtype === undefined && data instanceof Uint16Array) {
      throw new DTypeError("tensor", "a Uint16Array needs a dtype", "none", 'Pass "f16" or "bf16".');
    }
    const tensor = this.empty(shape, dtype ?? (data instanceof Int32Array ? "i32" : "f32"));
    this.write(tensor, data);
    return tensor;
  }

  /** A tensor with undefined contents. */
  empty<D extends DType = "f32">(shape: readonly number[], dtype: D = "f32" as D): Tensor<D> {
    for (const d of shape) {
      if (!Number.isInteger(d) || d < 0) throw new ShapeError("tensor", "sizes are whole numbers >= 0", `[${shape}]`);
    }
    const bytes = shape.reduce((n, d) => n * d, 1) * bytesPerElement[dtype];
    if (bytes > this.capabilities.maxTensorBytes) {
      throw new ShapeError(
        "tensor",
        `this device holds tensors of up to ${this.capabilities.maxTensorBytes} bytes`,
        `${bytes} bytes for [${shape}]`,
        "Use a smaller batch or context.",
      );
    }
    return new Tensor(this, this.allocate(bytes), dtype, [...shape]);
  }

  /** A tensor of zeros. */
  zeros<D extends DType = "f32">(shape: readonly number[], dtype: D = "f32" as D): Tensor<D> {
    const tensor = this.empty(shape, dtype);
    this.ops.fill({ out: tensor, value: 0 });
    return tensor;
  }

  /** See `Tensor.write`. */
  write<D extends DType>(tensor: Tensor<D>, data: HostArray<D> | Uint16Array): void {
    if (data.length !== tensor.size) {
      throw new ShapeError("write", `[${tensor.shape}] takes ${tensor.size} values`, `${data.length}`);
    }
    if (!tensor.isContiguous)
      throw new ShapeError("write", "the tensor must be contiguous", `strides [${tensor.strides}]`);
    const fits =
      tensor.dtype === "i32"
        ? data instanceof Int32Array
        : data instanceof Float32Array || (data instanceof Uint16Array && tensor.dtype !== "f32");
    if (!fits)
      throw new DTypeError(
        "write",
        `a ${tensor.dtype} tensor takes ${hostArrayName(tensor.dtype)}`,
        data.constructor.name,
      );
    this.#mustBeAlive(tensor);
    this.upload(tensor, data);
  }

  /** See `Tensor.read`. */
  async read<D extends DType>(tensor: Tensor<D>): Promise<HostArray<D>> {
    this.#mustBeAlive(tensor);
    return (await this.download(tensor)) as HostArray<D>;
  }

  #mustBeAlive(tensor: Tensor<DType>): void {
    if (tensor.isDisposed)
      throw new ShapeError("tensor", "a tensor in use must not be disposed", `[${tensor.shape}], disposed`);
  }
}

function hostArrayName(dtype: DType): string {
  if (dtype === "i32") return "an Int32Array";
  return dtype === "f32" ? "a Float32Array" : "a Float32Array or a Uint16Array of bits";
}
