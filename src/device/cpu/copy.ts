import { bytesPerElement, type DType, type Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import type { CpuRuntime, KernelArg } from "./runtime.ts";

const bytesPerTask = 1 << 17;

/** out = x; any strides, any dtype. */
export function copy(runtime: CpuRuntime, { x, out }: Parameters<Ops["copy"]>[0]): void {
  if (x.size === 0) return;
  const { rowBytes, outer } = collapse(x, out);
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

/** A dimension that is not part of the contiguous rows; strides in bytes. */
interface OuterDimension {
  size: number;
  xStride: number;
  outStride: number;
}

function collapse(x: Tensor<DType>, out: Tensor<DType>): { rowBytes: number; outer: OuterDimension[] } {
  const element = bytesPerElement[x.dtype];
  let rowBytes = element;
  const outer: OuterDimension[] = [];
  for (let axis = x.shape.length - 1; axis >= 0; axis--) {
    const size = x.shape[axis]!;
    if (size === 1) continue;
    const [xStride, outStride] = [x.strides[axis]! * element, out.strides[axis]! * element];
    const inner = outer[0];
    if (!inner && xStride === rowBytes && outStride === rowBytes) rowBytes *= size;
    else if (inner && xStride === inner.size * inner.xStride && outStride === inner.size * inner.outStride)
      inner.size *= size;
    else outer.unshift({ size, xStride, outStride });
  }
  return { rowBytes, outer };
}

function enqueueRows(
  runtime: CpuRuntime,
  x: Tensor<DType>,
  out: Tensor<DType>,
  rowBytes: number,
  outer: OuterDimension[],
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
