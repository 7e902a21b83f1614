// Packing for gemm: for each step of the summed dimension, 4 neighbours of the other one side by side, zeros beyond the
// edge. An odd number of steps is made even by one of zeros. Strides in bytes.
import { loadTail, storeTransposed } from "./simd.as";

/** Where the summed dimension is contiguous: dst[k * step + r] = src[r * rowStride + k] for r < 4. */
export function packTurned(dst: usize, step: usize, src: usize, rowStride: usize, rows: i32, depth: i32): void {
  let k = 0;
  if (rows >= 4) {
    for (; k + 4 <= depth; k += 4) {
      const a = v128.load(src);
      const b = v128.load(src + rowStride);
      const c = v128.load(src + 2 * rowStride);
      const d = v128.load(src + 3 * rowStride);
      storeTransposed(dst, step, a, b, c, d);
      src += 16;
      dst += 4 * step;
    }
  }
  for (; k < depth; k++) {
    for (let r = 0; r < 4; r++) {
      store<f32>(dst + (r << 2), r < rows ? load<f32>(src + <usize>r * rowStride) : 0);
    }
    src += 4;
    dst += step;
  }
  if (depth & 1) v128.store(dst, f32x4.splat(0));
}

/** Where the summed dimension is the strided one: dst[k * step + r] = src[k * depthStride + r] for r < 4. */
export function packStraight(dst: usize, step: usize, src: usize, depthStride: usize, rows: i32, depth: i32): void {
  for (let k = 0; k < depth; k++) {
    v128.store(dst, rows >= 4 ? v128.load(src) : loadTail(src, rows));
    src += depthStride;
    dst += step;
  }
  if (depth & 1) v128.store(dst, f32x4.splat(0));
}

/** Four times `packStraight`, for 16 neighbours at once: a line of memory is read in one go. */
export function packStraight16(
  dst0: usize,
  dst1: usize,
  dst2: usize,
  dst3: usize,
  step: usize,
  src: usize,
  depthStride: usize,
  depth: i32,
): void {
  for (let k = 0; k < depth; k++) {
    v128.store(dst0, v128.load(src));
    v128.store(dst1, v128.load(src, 16));
    v128.store(dst2, v128.load(src, 32));
    v128.store(dst3, v128.load(src, 48));
    src += depthStride;
    dst0 += step;
    dst1 += step;
    dst2 += step;
    dst3 += step;
  }
  if (depth & 1) {
    v128.store(dst0, f32x4.splat(0));
    v128.store(dst1, f32x4.splat(0));
    v128.store(dst2, f32x4.splat(0));
    v128.store(dst3, f32x4.splat(0));
  }
}
