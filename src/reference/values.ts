import type { DType, Storage, Tensor } from "../tensor.ts";

/** How the reference computes: `f64` is the oracle, `f32` the straightforward computation that sets error budgets. */
export type Precision = "f64" | "f32";

export type Numbers = Float64Array | Float32Array;

/** Sums, one term after another, in one precision. */
export interface Arithmetic {
  /** term(0) + ... + term(count - 1) */
  sum(count: number, term: (i: number) => number): number;
  /** x[0] y[0] + x[1] y[1] + ...; as long as x */
  dot(x: Numbers, y: Numbers): number;
}

export const arithmetic: Record<Precision, Arithmetic> = {
  f64: {
    sum(count, term) {
      let total = 0;
      for (let i = 0; i < count; i++) total += term(i);
      return total;
    },
    dot(x, y) {
      let total = 0;
      for (let i = 0; i < x.length; i++) total += x[i] * y[i];
      return total;
    },
  },
  f32: {
    sum(count, term) {
      let total = 0;
      for (let i = 0; i < count; i++) total = Math.fround(total + Math.fround(term(i)));
      return total;
    },
    dot(x, y) {
      let total = 0;
      for (let i = 0; i < x.length; i++) total = Math.fround(total + Math.fround(x[i] * y[i]));
      return total;
    },
  },
};

/** The largest value, -Infinity where there is none. */
export function maximum(values: ArrayLike<number>): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, values[i]);
  return largest;
}

/** Memory of the reference device: plain numbers, NaN until set, so that nothing unset can pass for a result. */
export class ReferenceStorage implements Storage {
  #values: Numbers | undefined;

  constructor(
    readonly bytes: number,
    readonly precision: Precision,
  ) {}

  values(dtype: DType): Numbers {
    if (this.#values === undefined) {
      const elements = this.bytes / (dtype === "f16" || dtype === "bf16" ? 2 : 4);
      // Indices stay doubles in both precisions: float32 cannot hold every i32.
      const Kind = this.precision === "f32" && dtype !== "i32" ? Float32Array : Float64Array;
      this.#values = new Kind(elements).fill(Number.NaN);
    }
    return this.#values;
  }

  release(): void {
    this.#values = undefined;
  }
}

/** The last dimension of a tensor at the given leading index, as a live window on its memory. */
export function row(tensor: Tensor<DType>, ...index: number[]): Numbers {
  let start = tensor.offset;
  for (let i = 0; i < index.length; i++) start += index[i] * tensor.strides[i];
  return windowAt(tensor, start);
}

/** As `row` of a [B|1, H|1, ...] tensor, where a size of 1 stands for all. */
export function broadcastRow(tensor: Tensor<DType>, b: number, h: number): Numbers {
  return row(tensor, tensor.shape[0] === 1 ? 0 : b, tensor.shape[1] === 1 ? 0 : h);
}

/** All rows of a tensor, in row-major order of its leading dimensions. */
export function rows(tensor: Tensor<DType>): Numbers[] {
  let starts = tensor.shape.includes(0) ? [] : [tensor.offset];
  for (let axis = 0; axis < tensor.shape.length - 1; axis++) {
    const steps = Array.from({ length: tensor.shape[axis] }, (_, i) => i * tensor.strides[axis]);
    starts = starts.flatMap((start) => steps.map((step) => start + step));
  }
  return starts.map((start) => windowAt(tensor, start));
}

/** The columns of a contiguous matrix, copied. */
export function columns(tensor: Tensor<DType>): Numbers[] {
  const [count, width] = tensor.shape;
  const values = flat(tensor);
  return Array.from({ length: width }, (_, c) => {
    const column = values.slice(0, count);
    for (let n = 0; n < count; n++) column[n] = values[n * width + c];
    return column;
  });
}

/** All values of a contiguous tensor, as a live window on its memory. */
export function flat(tensor: Tensor<DType>): Numbers {
  return valuesOf(tensor).subarray(tensor.offset, tensor.offset + tensor.size);
}

function windowAt(tensor: Tensor<DType>, start: number): Numbers {
  return valuesOf(tensor).subarray(start, start + (tensor.shape.at(-1) ?? 1));
}

function valuesOf(tensor: Tensor<DType>): Numbers {
  return (tensor.storage as ReferenceStorage).values(tensor.dtype);
}
