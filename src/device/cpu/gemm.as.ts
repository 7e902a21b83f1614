// gemm: out = epilogue(A B), the product behind linear and both its gradients.
//
// Inputs:  A [M, K] and B [K, N] in any of the two orders (strides in bytes, one of the two is 4), or B already packed by
//          packPanels; out, and what the epilogue reads, [M, N] contiguous.
// Grid:    one task per block of `rowsPerTask` x `columnsPerTask`, row blocks of one column block after another.
// Scratch: packed A rowsPerTask * DEPTH, sums rowsPerTask * columnsPerTask, and, if B is not packed yet,
//          DEPTH * columnsPerTask floats.
// Epilogue, each part only if its address is given: + bias[N]; store preGelu and take gelu of it; times gelu'(slopeOf);
//          + residual (may be out).
// Numerics: float32, summed in blocks of DEPTH.
// Paper:   Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34 (2008).
import { gelu, geluSlope } from "./gelu.as";
import { packStraight, packStraight16, packTurned } from "./gemm_pack.as";
import { tileProduct } from "./gemm_tile.as";
import { loadTail } from "./simd.as";

const DEPTH: i32 = 256;
const PANEL: i32 = 8; // columns of B side by side

@unmanaged
class GemmArgs {
  a: usize;
  aRowStride: u32;
  aDepthStride: u32;
  b: usize;
  bDepthStride: u32;
  bColumnStride: u32;
  bPacked: u32; // not 0: b is packed panels, each the whole of K deep
  M: i32;
  N: i32;
  K: i32;
  rowsPerTask: i32; // a multiple of 4
  columnsPerTask: i32; // a multiple of 8
  bias: usize;
  preGelu: usize;
  slopeOf: usize;
  residual: usize;
  out: usize;
}

export function gemm(argsAddress: usize, task: u32, scratch: usize): void {
  const args = changetype<GemmArgs>(argsAddress);
  const rowBlocks = (args.M + args.rowsPerTask - 1) / args.rowsPerTask;
  const row = (<i32>task % rowBlocks) * args.rowsPerTask;
  const column = (<i32>task / rowBlocks) * args.columnsPerTask;
  const rows = min(args.rowsPerTask, args.M - row);
  const columns = min(args.columnsPerTask, args.N - column);
  const sumStride = (<usize>args.columnsPerTask) << 2;
  const packedA = scratch;
  const sums = packedA + ((<usize>(args.rowsPerTask * DEPTH)) << 2);
  const packedB = sums + <usize>args.rowsPerTask * sumStride;

  memory.fill(sums, 0, <usize>args.rowsPerTask * sumStride);
  for (let k = 0; k < args.K; k += DEPTH) {
    const depth = min(DEPTH, args.K - k);
    const evenDepth = even(depth);
    packA(packedA, args, row, rows, k, depth);
    if (args.bPacked) {
      const stride = (<usize>(even(args.K) * PANEL)) << 2;
      const panels = args.b + <usize>(column / PANEL) * stride + ((<usize>(k * PANEL)) << 2);
      blockProduct(packedA, panels, stride, evenDepth, rows, columns, sums, sumStride);
    } else {
      const stride = (<usize>(evenDepth * PANEL)) << 2;
      packB(packedB, stride, args.b, args.bDepthStride, args.bColumnStride, column, columns, k, depth);
      blockProduct(packedA, packedB, stride, evenDepth, rows, columns, sums, sumStride);
    }
  }
  for (let i = 0; i < rows; i++) {
    finishRow(args, sums + <usize>i * sumStride, row + i, column, columns);
  }
}

/** sums += A B over one depth of packed A and B; each panel of B stays in the innermost cache while A passes by. */
function blockProduct(
  a: usize,
  panel: usize,
  panelStride: usize,
  depth: i32,
  rows: i32,
  columns: i32,
  sums: usize,
  sumStride: usize,
): void {
  const group = (<usize>depth) << 4;
  for (let j = 0; j < columns; j += PANEL) {
    let rowGroup = a;
    let tile = sums;
    let i = 0;
    // Called at more than one place: a single call would be inlined, and the sums would spill (35 GFLOP/s, not 53).
    for (; i + 4 < rows; i += 8) {
      tileProduct(rowGroup, panel, depth, tile, sumStride);
      tileProduct(rowGroup + group, panel, depth, tile + (sumStride << 2), sumStride);
      rowGroup += 2 * group;
      tile += sumStride << 3;
    }
    if (i < rows) tileProduct(rowGroup, panel, depth, tile, sumStride);
    panel += panelStride;
    sums += PANEL << 2;
  }
}

function even(depth: i32): i32 {
  return (depth + 1) & ~1;
}

function packA(dst: usize, args: GemmArgs, row: i32, rows: i32, k: i32, depth: i32): void {
  const rowStride = <usize>args.aRowStride;
  const depthStride = <usize>args.aDepthStride;
  const src = args.a + <usize>row * rowStride + <usize>k * depthStride;
  const group = (<usize>even(depth)) << 4;
  let i = 0;
  if (rowStride == 4) {
    for (; i + 16 <= rows; i += 16) {
      const at = dst + <usize>(i >> 2) * group;
      packStraight16(at, at + group, at + 2 * group, at + 3 * group, 16, src + ((<usize>i) << 2), depthStride, depth);
    }
  }
  for (; i < rows; i += 4) {
    const at = dst + <usize>(i >> 2) * group;
    const from = src + <usize>i * rowStride;
    if (rowStride == 4) packStraight(at, 16, from, depthStride, rows - i, depth);
    else packTurned(at, 16, from, rowStride, rows - i, depth);
  }
}

function packB(
  dst: usize,
  panelStride: usize,
  b: usize,
  depthStride: usize,
  columnStride: usize,
  column: i32,
  columns: i32,
  k: i32,
  depth: i32,
): void {
  const src = b + <usize>column * columnStride + <usize>k * depthStride;
  let j = 0;
  if (columnStride == 4) {
    for (; j + 16 <= columns; j += 16) {
      const at = dst + <usize>(j >> 3) * panelStride;
      const next = at + panelStride;
      packStraight16(at, at + 16, next, next + 16, 32, src + ((<usize>j) << 2), depthStride, depth);
    }
  }
  // Both halves of a panel are written, so that columns beyond the edge are zeros.
  const end = (columns + 7) & ~7;
  for (; j < end; j += 4) {
    const at = dst + <usize>(j >> 3) * panelStride + ((j & 4) << 2);
    const from = src + <usize>j * columnStride;
    if (columnStride == 4) packStraight(at, 32, from, depthStride, columns - j, depth);
    else packTurned(at, 32, from, columnStride, columns - j, depth);
  }
}

/** The epilogue of one row, pass by pass over its sums, which are in the innermost cache. */
function finishRow(args: GemmArgs, sums: usize, row: i32, column: i32, columns: i32): void {
  const at = (<usize>row * args.N + column) << 2;
  if (args.bias) addTo(sums, args.bias + (<usize>column << 2), columns);
  if (args.preGelu) {
    copyRow(args.preGelu + at, sums, columns);
    for (let j = 0; j < columns; j += 4) {
      const s = sums + (<usize>j << 2);
      v128.store(s, gelu(v128.load(s)));
    }
  }
  if (args.slopeOf) timesGeluSlope(sums, args.slopeOf + at, columns);
  if (args.residual) addTo(sums, args.residual + at, columns);
  copyRow(args.out + at, sums, columns);
}

// Sums are whole vectors; the rows of matrices may end within one.

function copyRow(to: usize, sums: usize, columns: i32): void {
  memory.copy(to, sums, <usize>columns << 2);
}

function addTo(sums: usize, row: usize, columns: i32): void {
  const end = sums + (<usize>(columns & ~3) << 2);
  for (; sums < end; sums += 16) {
    v128.store(sums, f32x4.add(v128.load(sums), v128.load(row)));
    row += 16;
  }
  const tail = columns & 3;
  if (tail) v128.store(sums, f32x4.add(v128.load(sums), loadTail(row, tail)));
}

function timesGeluSlope(sums: usize, row: usize, columns: i32): void {
  const end = sums + (<usize>(columns & ~3) << 2);
  for (; sums < end; sums += 16) {
    v128.store(sums, f32x4.mul(v128.load(sums), geluSlope(v128.load(row))));
    row += 16;
  }
  const tail = columns & 3;
  if (tail) v128.store(sums, f32x4.mul(v128.load(sums), geluSlope(loadTail(row, tail))));
}

@unmanaged
class PackPanelsArgs {
  b: usize;
  bDepthStride: u32;
  bColumnStride: u32;
  N: i32;
  K: i32;
  columnsPerTask: i32; // a multiple of 8
  out: usize;
}

/** packPanels: B [K, N] as panels of 8 columns [ceil(N / 8), K made even, 8], zeros beyond the edge. One task per columnsPerTask. */
export function packPanels(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<PackPanelsArgs>(argsAddress);
  const column = <i32>task * args.columnsPerTask;
  const columns = min(args.columnsPerTask, args.N - column);
  const panelStride = (<usize>(even(args.K) * PANEL)) << 2;
  const dst = args.out + <usize>(column / PANEL) * panelStride;
  packB(dst, panelStride, args.b, args.bDepthStride, args.bColumnStride, column, columns, 0, args.K);
}
