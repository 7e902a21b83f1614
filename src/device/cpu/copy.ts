import { bytesPerElement, type DType, type Tensor } from "../../tensor.ts";
import { copyRowsOf, type OuterDimension } from "../copyRows.ts";
import type { Ops } from "../ops.ts";
import type { CpuRuntime, KernelArg } from "./runtime.ts";

const bytesPerTask = 1 << 17;

/** out = x; any strides, any dtype. */
export function copy(runtime: CpuRuntime, { x, out }: Parameters<Ops["copy"]>[0]): void {
  if (x.size === 0) return;
  const { rowBytes, outer } = copyRowsOf(x, out);
  if (outer.length > 0) {
    enqueueRows(runtime, x, out, rowBytes, outer);
    return;
  }
  // One long row: cut it, so that every thread gets a share.
  const rows = Math.floor(rowBytes / bytesPerTask);
  const tail = rowBytes - rows * bytesPerTask;
  if (rows > 0) {
    enqueueRows(runtime, x, out, bytesPerTask, [{ size: rows, xStride: bytesPerTask, outStride: bytesPerTask }]);
  }
  if (tail > 0) {
    const start = (rows * bytesPerTask) / bytesPerElement[x.dtype];
    enqueueRows(runtime, flat(x, start), flat(out, start), tail, []);
  }
}

function enqueueRows(
  runtime: CpuRuntime,
  x: Tensor<DType>,
  out: Tensor<DType>,
  rowBytes: number,
  outer: readonly OuterDimension[],
): void {
  const rows = outer.reduce((n, { size }) => n * size, 1);
  const rowsPerTask = Math.max(1, Math.floor(bytesPerTask / rowBytes));
  const args: KernelArg[] = [x, out, rowBytes, rows, rowsPerTask, outer.length];
  for (const field of ["size", "xStride", "outStride"] as const)
    args.push(...outer.map((dimension) => dimension[field]));
  runtime.enqueue("copy", { tasks: Math.ceil(rows / rowsPerTask), args });
}

function flat(tensor: Tensor<DType>, start: number): Tensor<DType> {
  return tensor.view([tensor.size - start], { strides: [1], offset: start });
}
