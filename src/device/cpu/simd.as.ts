// SIMD helpers that kernels share. Everything here is inlined: a v128 never travels through memory.

/** a * b + c: one rounding in the relaxed build where the machine has the instruction, else two. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/**
 * 2^x for x <= 127, within about 1 ulp; exactly 1 at 0, exactly 0 below -126.5 and at -Infinity, NaN at NaN.
 * x = n + f with |f| <= 1/2; 2^f by a minimax polynomial of degree 6 (relative error 2e-9), 2^n by its exponent bits.
 */
// @ts-ignore: decorator
@inline
export function exp2x4(x: v128): v128 {
  // Adding this number leaves n + 127 in the low bits of the sum: the exponent field of 2^n.
  const shift = f32x4.splat(12582912.0 + 127.0);
  const clamped = f32x4.pmax(x, f32x4.splat(-127.0));
  const sum = f32x4.add(clamped, shift);
  const f = f32x4.sub(clamped, f32x4.sub(sum, shift));
  let p = madd(f, f32x4.splat(0.00015353362), f32x4.splat(0.0013398875));
  p = madd(p, f, f32x4.splat(0.009618437));
  p = madd(p, f, f32x4.splat(0.055503324));
  p = madd(p, f, f32x4.splat(0.24022648));
  p = madd(p, f, f32x4.splat(0.6931472));
  p = madd(p, f, f32x4.splat(1.0));
  return f32x4.mul(p, i32x4.shl(sum, 23));
}

/**
 * e^x for x <= 88, within about 1 ulp for |x| < 88; exactly 1 at 0, exactly 0 below -87.7 and at -Infinity, NaN at NaN.
 * x = n ln2 + f; ln2 is taken off in two parts, so that f keeps its bits.
 */
// @ts-ignore: decorator
@inline
export function expx4(x: v128): v128 {
  const shift = f32x4.splat(12582912.0 + 127.0);
  const clamped = f32x4.pmax(x, f32x4.splat(-88.02969));
  const sum = madd(clamped, f32x4.splat(1.442695), shift);
  const n = f32x4.sub(sum, shift);
  let f = madd(n, f32x4.splat(-0.693359375), clamped);
  f = madd(n, f32x4.splat(0.00021219444), f);
  let p = madd(f, f32x4.splat(0.0013843654), f32x4.splat(0.0083741555));
  p = madd(p, f, f32x4.splat(0.041668002));
  p = madd(p, f, f32x4.splat(0.16666432));
  p = madd(p, f, f32x4.splat(0.5));
  p = madd(p, f, f32x4.splat(1.0));
  p = madd(p, f, f32x4.splat(1.0));
  return f32x4.mul(p, i32x4.shl(sum, 23));
}

/** Sum of the lanes, always in the same order. */
// @ts-ignore: decorator
@inline
export function sumLanes(x: v128): f32 {
  const pairs = f32x4.add(x, v128.shuffle<f32>(x, x, 2, 3, 0, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** Largest lane. */
// @ts-ignore: decorator
@inline
export function maxLanes(x: v128): f32 {
  const pairs = f32x4.max(x, v128.shuffle<f32>(x, x, 2, 3, 0, 1));
  return max(f32x4.extract_lane(pairs, 0), f32x4.extract_lane(pairs, 1));
}

/** Copies `bytes`, a multiple of 32. */
// @ts-ignore: decorator
@inline
export function copyRow(to: usize, from: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 32) {
    const first = v128.load(from + i);
    const second = v128.load(from + i, 16);
    v128.store(to + i, first);
    v128.store(to + i, second, 16);
  }
}

/** Zeroes `bytes`, a multiple of 16. */
// @ts-ignore: decorator
@inline
export function zero(to: usize, bytes: usize): void {
  memory.fill(to, 0, bytes);
}

/** Stores the transpose of the 4x4 block with rows a, b, c, d as four rows `stride` bytes apart. */
// @ts-ignore: decorator
@inline
export function storeTransposed(to: usize, stride: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
  const cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
  v128.store(to, v128.shuffle<f64>(ab, cd, 0, 2));
  v128.store(to + stride, v128.shuffle<f64>(ab, cd, 1, 3));
  const ab2 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
  const cd2 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(to + 2 * stride, v128.shuffle<f64>(ab2, cd2, 0, 2));
  v128.store(to + 3 * stride, v128.shuffle<f64>(ab2, cd2, 1, 3));
}

/** The `count` floats, fewer than 4, that a loop over whole vectors left over; then zeros. */
export function loadTail(at: usize, count: i32): v128 {
  let x = f32x4.splat(0);
  if (count > 0) x = v128.load_lane<f32>(at, x, 0);
  if (count > 1) x = v128.load_lane<f32>(at + 4, x, 1);
  if (count > 2) x = v128.load_lane<f32>(at + 8, x, 2);
  return x;
}

/** Stores the first `count` floats, fewer than 4. */
export function storeTail(at: usize, x: v128, count: i32): void {
  if (count > 0) v128.store_lane<f32>(at, x, 0);
  if (count > 1) v128.store_lane<f32>(at + 4, x, 1);
  if (count > 2) v128.store_lane<f32>(at + 8, x, 2);
}
