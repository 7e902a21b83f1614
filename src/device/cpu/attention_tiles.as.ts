// What the attention kernels share: their common arguments, and the ways rows come into tiles and leave them.

import { copyRow, storeTransposed } from "./simd.as";

/** Strides are in bytes; a stride of 0 stands where one entry serves all. attention_args.ts packs the same order. */
@unmanaged
export class AttentionArgs {
  heads: u32;
  keyHeads: u32;
  dims: u32;
  queries: u32;
  keys: u32;
  sign: f32; // of the scale: 1, -1 or 0
  scale: f32; // its magnitude; 1 if it is 0
  q: usize;
  qB: usize;
  qT: usize;
  qH: usize;
  k: usize;
  kB: usize;
  kT: usize;
  kH: usize;
  v: usize;
  vB: usize;
  vT: usize;
  vH: usize;
  lse: usize;
  lseB: usize;
  lseH: usize;
  lseT: usize;
  qRows: usize; // 0: the visit order is the identity
  qRowsB: usize;
  qRowsH: usize;
  kRows: usize; // 0: the visit order is the identity
  kRowsB: usize;
  kRowsH: usize;
  lo: usize;
  hi: usize;
  boundsB: usize;
  boundsH: usize;
}

/** Which row stands at a place. */
// @ts-ignore: decorator
@inline
export function rowAt(rows: usize, place: u32): u32 {
  return rows ? load<u32>(rows + place * 4) : place;
}

/** Copies the rows at `count` places from `place` on into a row-major tile, and zeroes up to the next multiple of 4. */
export function gatherRows(
  tile: usize,
  rowBytes: usize,
  source: usize,
  stride: usize,
  rows: usize,
  place: u32,
  count: u32,
): void {
  const end = tile + count * rowBytes;
  for (let to = tile; to < end; to += rowBytes) {
    copyRow(to, source + rowAt(rows, place++) * stride, rowBytes);
  }
  memory.fill(end, 0, ((0 - count) & 3) * rowBytes);
}

/**
 * Gathers rows into panels of 8, transposed: panel [dims][8 rows], each value times `factor`. Lanes past `count` repeat
 * the last row.
 */
export function gatherPanels(
  panels: usize,
  dims: u32,
  source: usize,
  stride: usize,
  rows: usize,
  place: u32,
  count: u32,
  factor: f32,
): void {
  const factors = f32x4.splat(factor);
  const last = place + count - 1;
  for (let lane: u32 = 0; lane < count; lane += 4) {
    const a = source + rowAt(rows, min(place + lane, last)) * stride;
    const b = source + rowAt(rows, min(place + lane + 1, last)) * stride;
    const c = source + rowAt(rows, min(place + lane + 2, last)) * stride;
    const d = source + rowAt(rows, min(place + lane + 3, last)) * stride;
    const to = panels + (lane >> 3) * dims * 32 + (lane & 4) * 4;
    storeRowsTransposed(to, dims, a, b, c, d, factors);
    // The panel's other half, should no row be left for it, must still hold numbers.
    if (!(lane & 4) && lane + 4 >= count) storeRowsTransposed(to + 16, dims, d, d, d, d, factors);
  }
}

function storeRowsTransposed(to: usize, dims: u32, a: usize, b: usize, c: usize, d: usize, factors: v128): void {
  for (let i: usize = 0; i < dims * 4; i += 16) {
    storeTransposed(
      to + i * 8,
      32,
      f32x4.mul(v128.load(a + i), factors),
      f32x4.mul(v128.load(b + i), factors),
      f32x4.mul(v128.load(c + i), factors),
      f32x4.mul(v128.load(d + i), factors),
    );
  }
}

/**
 * Scatters a panel [dims][8 rows] to the rows at `count` (at most 8) places from `place` on, each value times its
 * lane's factor; adds to what is there if `add`.
 */
export function scatterPanel(
  panel: usize,
  dims: u32,
  target: usize,
  stride: usize,
  rows: usize,
  place: u32,
  count: u32,
  factor0: v128,
  factor1: v128,
  add: bool,
): void {
  for (let half: u32 = 0; half < count; half += 4) {
    const factors = half ? factor1 : factor0;
    const here = min(count - half, 4);
    // A block for 4 rows leaves through the panel's own memory, transposed in place.
    for (let i: u32 = 0; i < dims; i += 4) {
      const at = panel + i * 32 + half * 4;
      storeTransposed(
        at,
        32,
        f32x4.mul(v128.load(at), factors),
        f32x4.mul(v128.load(at, 32), factors),
        f32x4.mul(v128.load(at, 64), factors),
        f32x4.mul(v128.load(at, 96), factors),
      );
    }
    for (let r: u32 = 0; r < here; r++) {
      const row = target + rowAt(rows, place + half + r) * stride;
      let from = panel + half * 4 + r * 32;
      for (let to = row; to < row + dims * 4; to += 16) {
        const values = v128.load(from);
        v128.store(to, add ? f32x4.add(v128.load(to), values) : values);
        from += 128;
      }
    }
  }
}
