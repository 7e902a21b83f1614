import { type CopyRows, copyRowsOf, type OuterDimension } from "../copyRows.ts";
import type { Ops } from "../ops.ts";
import { addressOf, type Field, i32, i64, pack, pointer } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
const unitsPerBlock = threads * 4;
const kernelRank = 4;
const mostRows = 2 ** 31;

/** See `Ops.copy`: any strides, any dtype. */
export function copy(runtime: CudaRuntime, { x, out }: Parameters<Ops["copy"]>[0]): void {
  if (x.size === 0) return;
  copyRows(runtime, { from: addressOf(x), to: addressOf(out), ...copyRowsOf(x, out) });
}

interface Rows extends CopyRows {
  readonly from: number;
  readonly to: number;
}

function copyRows(runtime: CudaRuntime, { from, to, rowBytes, outer }: Rows): void {
  const [first, ...others] = outer;
  const rows = outer.reduce((n, { size }) => n * size, 1);
  if (!first) {
    if (from !== to) runtime.call("cuMemcpyDtoDAsync", to, from, rowBytes, runtime.stream);
  } else if (first.size === 1) {
    copyRows(runtime, { from, to, rowBytes, outer: others });
  } else if (outer.length > kernelRank || rows >= mostRows) {
    const half = Math.floor(first.size / 2);
    const [start, rest] = [half, first.size - half].map((size) => [{ ...first, size }, ...others]);
    copyRows(runtime, { from, to, rowBytes, outer: start! });
    const second = { from: from + half * first.xStride, to: to + half * first.outStride };
    copyRows(runtime, { ...second, rowBytes, outer: rest! });
  } else {
    launch(runtime, { from, to, rowBytes, outer }, rows);
  }
}

function launch(runtime: CudaRuntime, { from, to, rowBytes, outer }: Rows, rows: number): void {
  const everything = [from, to, rowBytes, ...outer.flatMap(({ xStride, outStride }) => [xStride, outStride])];
  const unitBytes = [16, 8, 4, 2].find((bytes) => everything.every((n) => n % bytes === 0))!;
  const units = rowBytes / unitBytes;
  const one: OuterDimension = { size: 1, xStride: 0, outStride: 0 };
  const dimensions = [...new Array<OuterDimension>(kernelRank - outer.length).fill(one), ...outer];
  const all = (field: keyof OuterDimension, type: (value: number) => Field) => dimensions.map((d) => type(d[field]));
  const strides = [...all("xStride", i64), ...all("outStride", i64)];
  runtime.launch(
    { file: "copy", defines: { UNIT_BYTES: unitBytes } },
    {
      grid: [Math.ceil((rows * units) / unitsPerBlock)],
      threads,
      parameters: [pack([pointer(from), pointer(to), ...strides, i64(units), ...all("size", i32), i32(rows)])],
    },
  );
}
