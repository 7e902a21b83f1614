import { ShapeError } from "../../errors.ts";
import { bytesPerElement, type DType } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { toHalfBits } from "./half.ts";
import type { CpuRuntime } from "./runtime.ts";

const bytesPerTask = 1 << 17;

/** out = value, in out's dtype. */
export function fill(runtime: CpuRuntime, { out, value }: Parameters<Ops["fill"]>[0]): void {
  if (!out.isContiguous) throw new ShapeError("fill", "out must be contiguous", `strides [${out.strides}]`);
  const bytes = out.size * bytesPerElement[out.dtype];
  runtime.enqueue("fill", {
    tasks: Math.ceil(bytes / bytesPerTask),
    args: [out, bytes, bytesPerTask, wordOf(value, out.dtype)],
  });
}

/** Four bytes of the repeated value. */
function wordOf(value: number, dtype: DType): number {
  if (dtype === "i32") return value;
  if (dtype === "f32") return new Int32Array(Float32Array.of(value).buffer)[0]!;
  const bits = toHalfBits(value, dtype);
  return (bits << 16) | bits;
}
