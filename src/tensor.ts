import type { Device } from "./device/device.ts";
import { ShapeError } from "./errors.ts";

export type FloatType = "f32" | "f16" | "bf16";
export type DType = FloatType | "i32";

/** What a read of a tensor gives: every float type reads as float32. */
export type HostArray<D extends DType> = D extends "i32" ? Int32Array : Float32Array;

export const bytesPerElement: Record<DType, number> = { f32: 4, f16: 2, bf16: 2, i32: 4 };

/** A block of device memory; only the device that made it knows more. */
export interface Storage {
  readonly bytes: number;
}

/**
 * A strided view of device memory. Tensors never own a copy of their data on the host; `read` and `write` are the only
 * ways across. The innermost dimension is always contiguous.
 */
export class Tensor<D extends DType = FloatType> {
  readonly #base: Tensor<D> | undefined;
  #disposed = false;

  /** Made by `device.tensor`, `device.empty` and `view`, not by hand. */
  constructor(
    readonly device: Device,
    readonly storage: Storage,
    readonly dtype: D,
    readonly shape: readonly number[],
    /** Elements between neighbours of each dimension; 0 repeats. */
    readonly strides: readonly number[] = contiguousStrides(shape),
    /** Elements before the first one. */
    readonly offset: number = 0,
    base?: Tensor<D>,
  ) {
    this.#base = base;
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((n, d) => n * d, 1);
  }

  get isContiguous(): boolean {
    const expected = contiguousStrides(this.shape);
    return this.shape.every((d, i) => d === 1 || this.strides[i] === expected[i]);
  }

  get isDisposed(): boolean {
    return this.#base ? this.#base.isDisposed : this.#disposed;
  }

  /**
   * Another look at the same memory.
   * @param shape the new shape
   * @param strides elements between neighbours; contiguous if left out (which needs a contiguous tensor)
   * @param offset elements to skip from this tensor's first
   * @throws ShapeError if the view would reach outside this tensor's memory
   */
  view(
    shape: readonly number[],
    { strides, offset = 0 }: { strides?: readonly number[]; offset?: number } = {},
  ): Tensor<D> {
    if (strides === undefined && !this.isContiguous) {
      throw new ShapeError("view", "a view without strides needs a contiguous tensor", `strides [${this.strides}]`);
    }
    const view = new Tensor(
      this.device,
      this.storage,
      this.dtype,
      shape,
      strides,
      this.offset + offset,
      this.#base ?? this,
    );
    const capacity = this.storage.bytes / bytesPerElement[this.dtype];
    if (view.offset < 0 || (view.size > 0 && view.offset + extent(view) > capacity)) {
      throw new ShapeError(
        "view",
        `a view must stay inside its tensor's ${capacity} elements`,
        `shape [${shape}], strides [${view.strides}], offset ${view.offset}`,
      );
    }
    return view;
  }

  /** The part `start <= index < start + length` of dimension `axis`, as a view. */
  slice(axis: number, start: number, length: number): Tensor<D> {
    if (start < 0 || length < 0 || start + length > this.shape[axis]!) {
      throw new ShapeError(
        "slice",
        `a slice must lie within dimension ${axis} of [${this.shape}]`,
        `${start} .. ${start + length}`,
      );
    }
    const shape = this.shape.map((d, i) => (i === axis ? length : d));
    return this.view(shape, { strides: this.strides, offset: start * this.strides[axis]! });
  }

  /** The values in row-major order of the shape, after all work enqueued so far has run. */
  async read(): Promise<HostArray<D>> {
    return this.device.read(this);
  }

  /** Replaces the values, in order with the work enqueued so far. Needs a contiguous tensor. */
  write(data: HostArray<D> | Uint16Array): void {
    this.device.write(this, data);
  }

  /** Gives the memory back, once the work enqueued so far has run. Views die with the tensor they look at. */
  dispose(): void {
    if (this.#base || this.#disposed) return;
    this.#disposed = true;
    this.device.release(this.storage);
  }
}

export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i]!;
  }
  return strides;
}

/** Elements from a view's first to one past its last. */
export function extent(tensor: { shape: readonly number[]; strides: readonly number[] }): number {
  return tensor.shape.reduce((n, d, i) => n + (d - 1) * tensor.strides[i]!, 1);
}
