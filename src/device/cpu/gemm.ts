import type { Tensor } from "../../tensor.ts";
import type { CpuRuntime } from "./runtime.ts";

/** A matrix in either order: floats between its rows and between its columns; one of the two is 1. */
export interface Matrix {
  readonly tensor: Tensor;
  readonly rowStride: number;
  readonly columnStride: number;
}

export interface Epilogue {
  readonly bias?: Tensor | null;
  /** Takes what would be the result; the result is then its gelu. */
  readonly preGelu?: Tensor | null;
  /** The result is multiplied by gelu' of this. */
  readonly slopeOf?: Tensor | null;
  /** Added last; may be `out`. */
  readonly residual?: Tensor | null;
}

/** Steps of the summed dimension between packings; gemm.as.ts holds the same number. */
const depth = 256;
const panelColumns = 8;

/** A [rows, columns] matrix that lies row by row. */
export function rowMajor(tensor: Tensor): Matrix {
  return { tensor, rowStride: tensor.shape[1], columnStride: 1 };
}

export function turned({ tensor, rowStride, columnStride }: Matrix): Matrix {
  return { tensor, rowStride: columnStride, columnStride: rowStride };
}

/**
 * out [M, N] = a [M, K] b [K, N], then the epilogue.
 * @param packFirst pack b once for all rows: worth it where b is small (weights), not where it is as long as the batch
 */
export function gemm(
  runtime: CpuRuntime,
  args: { a: Matrix; b: Matrix; K: number; out: Tensor; epilogue?: Epilogue; packFirst: boolean },
): void {
  const { a, b, K, out, epilogue = {} } = args;
  const [M, N] = out.shape;
  if (M === 0 || N === 0) return;
  const { rowsPerTask, columnsPerTask } = blockOf(M, N, args.packFirst);
  const rowBlocks = Math.ceil(M / rowsPerTask);
  const packed = args.packFirst && rowBlocks > 1 ? packPanels(runtime, b, K, N) : null;
  const scratchFloats = rowsPerTask * depth + rowsPerTask * columnsPerTask + (packed ? 0 : depth * columnsPerTask);
  const { bias = null, preGelu = null, slopeOf = null, residual = null } = epilogue;
  runtime.enqueue("gemm", {
    tasks: rowBlocks * Math.ceil(N / columnsPerTask),
    scratchBytes: scratchFloats * 4,
    args: [
      ...[a.tensor, a.rowStride * 4, a.columnStride * 4],
      ...[packed ?? b.tensor, b.rowStride * 4, b.columnStride * 4, packed ? 1 : 0],
      ...[M, N, K, rowsPerTask, columnsPerTask],
      ...[bias, preGelu, slopeOf, residual, out],
    ],
  });
  if (packed) runtime.release(packed);
}

function packPanels(runtime: CpuRuntime, b: Matrix, K: number, N: number) {
  const packed = runtime.allocate(Math.ceil(N / panelColumns) * panelColumns * (K + (K % 2)) * 4);
  const columnsPerTask = 16 * Math.max(1, Math.round(1024 / K));
  runtime.enqueue("packPanels", {
    tasks: Math.ceil(N / columnsPerTask),
    args: [b.tensor, b.rowStride * 4, b.columnStride * 4, N, K, columnsPerTask, packed],
  });
  return packed;
}

const enoughTasks = 16;

/** Blocks that fit the cache, cut smaller until there is work for every thread of a usual machine. By shape alone. */
function blockOf(M: number, N: number, packFirst: boolean): { rowsPerTask: number; columnsPerTask: number } {
  let rowsPerTask = 64;
  let columnsPerTask = packFirst ? 512 : 256;
  const tasks = () => Math.ceil(M / rowsPerTask) * Math.ceil(N / columnsPerTask);
  while (columnsPerTask >= N * 2 && columnsPerTask > 8) columnsPerTask /= 2;
  while (tasks() < enoughTasks && columnsPerTask > 64) columnsPerTask /= 2;
  while (tasks() < enoughTasks && rowsPerTask > 32) rowsPerTask /= 2;
  return { rowsPerTask: Math.min(rowsPerTask, Math.ceil(M / 4) * 4), columnsPerTask };
}
