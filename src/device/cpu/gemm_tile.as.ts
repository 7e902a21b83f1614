// The tile product of gemm: c[4, 8] += a[4, depth] b[depth, 8], depth even.
//
// Inputs:  a packed 4 rows side by side (16 bytes a step), b 8 columns side by side (32 bytes a step).
// Numerics: float32; 8 accumulators of 4 lanes stay in registers, summed in the order of depth.
//
// V8 keeps all of it in registers in just this form. Loading all of a step's rows before the products, unrolling by 4, a
// choice between adding and setting, or a loop for an odd step each made it spill: 54 GFLOP/s fell to 32 - 47.
import { madd } from "./simd.as";

export function tileProduct(a: usize, b: usize, depth: i32, c: usize, cStride: usize): void {
  let s00 = v128.load(c);
  let s01 = v128.load(c, 16);
  let s10 = v128.load(c + cStride);
  let s11 = v128.load(c + cStride, 16);
  let s20 = v128.load(c + 2 * cStride);
  let s21 = v128.load(c + 2 * cStride, 16);
  let s30 = v128.load(c + 3 * cStride);
  let s31 = v128.load(c + 3 * cStride, 16);
  const end = b + ((<usize>depth) << 5);
  while (b < end) {
    let b0 = v128.load(b);
    let b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    s00 = madd(x, b0, s00);
    s01 = madd(x, b1, s01);
    x = v128.load32_splat(a, 4);
    s10 = madd(x, b0, s10);
    s11 = madd(x, b1, s11);
    x = v128.load32_splat(a, 8);
    s20 = madd(x, b0, s20);
    s21 = madd(x, b1, s21);
    x = v128.load32_splat(a, 12);
    s30 = madd(x, b0, s30);
    s31 = madd(x, b1, s31);
    b0 = v128.load(b, 32);
    b1 = v128.load(b, 48);
    x = v128.load32_splat(a, 16);
    s00 = madd(x, b0, s00);
    s01 = madd(x, b1, s01);
    x = v128.load32_splat(a, 20);
    s10 = madd(x, b0, s10);
    s11 = madd(x, b1, s11);
    x = v128.load32_splat(a, 24);
    s20 = madd(x, b0, s20);
    s21 = madd(x, b1, s21);
    x = v128.load32_splat(a, 28);
    s30 = madd(x, b0, s30);
    s31 = madd(x, b1, s31);
    a += 32;
    b += 64;
  }
  v128.store(c, s00);
  v128.store(c, s01, 16);
  v128.store(c + cStride, s10);
  v128.store(c + cStride, s11, 16);
  v128.store(c + 2 * cStride, s20);
  v128.store(c + 2 * cStride, s21, 16);
  v128.store(c + 3 * cStride, s30);
  v128.store(c + 3 * cStride, s31, 16);
}
