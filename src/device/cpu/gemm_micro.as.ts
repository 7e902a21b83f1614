// The inner products of all matrix kernels: 4 x 8 blocks of C in eight v128 registers, one step of the contraction at a
// time. Loops are not unrolled: V8 then hoists loads above the arithmetic and spills the accumulators (54 GFLOP/s a core
// as it stands, 33 unrolled by two).
//
// A "panel" is 8 columns side by side: row r lies at r * 32 bytes.

import { madd } from "./simd.as";

/**
 * C = A B. A [rows, steps], B [steps][8], C [rows][8]; `xStride` is the bytes between neighbouring rows of X.
 * rows a multiple of 4, steps at least 1.
 */
export function rowsTimesPanel(
  a: usize,
  aStride: usize,
  b: usize,
  bStride: usize,
  c: usize,
  cStride: usize,
  rows: u32,
  steps: u32,
): void {
  const aBytes = steps * 4;
  for (; rows; rows -= 4) {
    let a0 = a;
    let a1 = a0 + aStride;
    let a2 = a1 + aStride;
    let a3 = a2 + aStride;
    a = a3 + aStride;
    let c00 = f32x4.splat(0);
    let c01 = f32x4.splat(0);
    let c10 = f32x4.splat(0);
    let c11 = f32x4.splat(0);
    let c20 = f32x4.splat(0);
    let c21 = f32x4.splat(0);
    let c30 = f32x4.splat(0);
    let c31 = f32x4.splat(0);
    let at = b;
    const end = a0 + aBytes;
    do {
      const b0 = v128.load(at);
      const b1 = v128.load(at, 16);
      let x = v128.load32_splat(a0);
      c00 = madd(x, b0, c00);
      c01 = madd(x, b1, c01);
      x = v128.load32_splat(a1);
      c10 = madd(x, b0, c10);
      c11 = madd(x, b1, c11);
      x = v128.load32_splat(a2);
      c20 = madd(x, b0, c20);
      c21 = madd(x, b1, c21);
      x = v128.load32_splat(a3);
      c30 = madd(x, b0, c30);
      c31 = madd(x, b1, c31);
      a0 += 4;
      a1 += 4;
      a2 += 4;
      a3 += 4;
      at += bStride;
    } while (a0 < end);
    v128.store(c, c00);
    v128.store(c, c01, 16);
    c += cStride;
    v128.store(c, c10);
    v128.store(c, c11, 16);
    c += cStride;
    v128.store(c, c20);
    v128.store(c, c21, 16);
    c += cStride;
    v128.store(c, c30);
    v128.store(c, c31, 16);
    c += cStride;
  }
}

/**
 * C = C * factors + A^T B. A [steps, columns], B [steps][8], C a panel [columns][8], whose 8 columns are scaled by
 * (factor0, factor1) first; `xStride` is the bytes between neighbouring rows of X. columns a multiple of 4, steps at
 * least 1.
 */
// @ts-ignore: decorator
@inline
export function columnsTimesPanel(
  a: usize,
  aStride: usize,
  b: usize,
  bStride: usize,
  c: usize,
  columns: u32,
  steps: u32,
  factor0: v128,
  factor1: v128,
): void {
  const bEnd = b + steps * bStride;
  const cEnd = c + columns * 32;
  while (c < cEnd) {
    let c00 = f32x4.mul(factor0, v128.load(c));
    let c01 = f32x4.mul(factor1, v128.load(c, 16));
    let c10 = f32x4.mul(factor0, v128.load(c, 32));
    let c11 = f32x4.mul(factor1, v128.load(c, 48));
    let c20 = f32x4.mul(factor0, v128.load(c, 64));
    let c21 = f32x4.mul(factor1, v128.load(c, 80));
    let c30 = f32x4.mul(factor0, v128.load(c, 96));
    let c31 = f32x4.mul(factor1, v128.load(c, 112));
    let at = b;
    let from = a;
    do {
      const b0 = v128.load(at);
      const b1 = v128.load(at, 16);
      let x = v128.load32_splat(from);
      c00 = madd(x, b0, c00);
      c01 = madd(x, b1, c01);
      x = v128.load32_splat(from, 4);
      c10 = madd(x, b0, c10);
      c11 = madd(x, b1, c11);
      x = v128.load32_splat(from, 8);
      c20 = madd(x, b0, c20);
      c21 = madd(x, b1, c21);
      x = v128.load32_splat(from, 12);
      c30 = madd(x, b0, c30);
      c31 = madd(x, b1, c31);
      from += aStride;
      at += bStride;
    } while (at < bEnd);
    v128.store(c, c00);
    v128.store(c, c01, 16);
    v128.store(c, c10, 32);
    v128.store(c, c11, 48);
    v128.store(c, c20, 64);
    v128.store(c, c21, 80);
    v128.store(c, c30, 96);
    v128.store(c, c31, 112);
    c += 128;
    a += 16;
  }
}
