import { ShapeError } from "../../errors.ts";
import type { DType } from "../../tensor.ts";
import { toHalfBits } from "../cpu/half.ts";
import type { Ops } from "../ops.ts";
import { addressOf } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

/** See `Ops.fill`. The driver's own fill runs at the speed of memory, and is a node like another of a recording. */
export function fill(runtime: CudaRuntime, { out, value }: Parameters<Ops["fill"]>[0]): void {
  if (!out.isContiguous) throw new ShapeError("fill", "out must be contiguous", `strides [${out.strides}]`);
  const { size, dtype } = out;
  const address = addressOf(out);
  const bits = bitsOf(value, dtype);
  const set = (width: 16 | 32, at: number, word: number, count: number) => {
    if (count > 0) runtime.call(`cuMemsetD${width}Async`, at, word, count, runtime.stream);
  };
  if (dtype === "i32" || dtype === "f32") {
    set(32, address, bits, size);
    return;
  }
  // By words where they are aligned: what is odd stands before or behind them.
  const before = Math.min(size, (address % 4) / 2);
  const words = Math.floor((size - before) / 2);
  set(16, address, bits, before);
  set(32, address + 2 * before, ((bits << 16) | bits) >>> 0, words);
  set(16, address + 2 * before + 4 * words, bits, size - before - 2 * words);
}

/** The value's bits as an unsigned number. */
function bitsOf(value: number, dtype: DType): number {
  if (dtype === "i32") return value >>> 0;
  if (dtype === "f32") return new Uint32Array(Float32Array.of(value).buffer)[0]!;
  return toHalfBits(value, dtype);
}
