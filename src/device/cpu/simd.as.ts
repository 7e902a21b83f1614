// Float vectors of 4: what several kernels share. Static methods, because only those may carry `@inline` everywhere.

const LOG2_E: f32 = 1.44269504;
const LN2_HIGH: f32 = 0.693359375; // 9 bits: n * LN2_HIGH is exact
const LN2_LOW: f32 = -2.1219444e-4;
const SMALLEST: f32 = -87.33; // exp of less is no normal number, and taken as 0
const LARGEST: f32 = 88.37;

export class vec {
  /** a * b + c; one rounding in the relaxed build where the machine has it, two in the other. */
  @inline
  static madd(a: v128, b: v128, c: v128): v128 {
    if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
    return f32x4.add(f32x4.mul(a, b), c);
  }

  @inline
  static sum(v: v128): f32 {
    const pairs = f32x4.add(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
    return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
  }

  @inline
  static max(v: v128): f32 {
    const pairs = f32x4.max(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
    return max(f32x4.extract_lane(pairs, 0), f32x4.extract_lane(pairs, 1));
  }

  /**
   * exp to about one unit in the last place; NaN for NaN, 0 below -87.33, exp(88.37) above that. Range reduction by
   * Cody and Waite, then the minimax polynomial of the Cephes library.
   */
  @inline
  static exp(x: v128): v128 {
    const inRange = f32x4.max(f32x4.min(x, f32x4.splat(LARGEST)), f32x4.splat(SMALLEST));
    const n = f32x4.nearest(f32x4.mul(inRange, f32x4.splat(LOG2_E)));
    const high = f32x4.sub(inRange, f32x4.mul(n, f32x4.splat(LN2_HIGH)));
    const r = f32x4.sub(high, f32x4.mul(n, f32x4.splat(LN2_LOW)));
    let p = vec.madd(f32x4.splat(1.98756915e-4), r, f32x4.splat(1.39819995e-3));
    p = vec.madd(p, r, f32x4.splat(8.33345191e-3));
    p = vec.madd(p, r, f32x4.splat(4.16657959e-2));
    p = vec.madd(p, r, f32x4.splat(1.66666655e-1));
    p = vec.madd(p, r, f32x4.splat(5.00000012e-1));
    p = f32x4.add(vec.madd(p, f32x4.mul(r, r), r), f32x4.splat(1));
    const exponent = i32x4.shl(i32x4.trunc_sat_f32x4_s(n), 23);
    return v128.andnot(i32x4.add(p, exponent), f32x4.lt(x, f32x4.splat(SMALLEST)));
  }
}

/** The first `count` floats, then zeros. */
export function loadLanes(at: usize, count: i32): v128 {
  if (count >= 4) return v128.load(at);
  let v = f32x4.splat(0);
  if (count > 0) v = v128.load_lane<f32>(at, v, 0);
  if (count > 1) v = v128.load_lane<f32>(at + 4, v, 1);
  if (count > 2) v = v128.load_lane<f32>(at + 8, v, 2);
  return v;
}

/** Stores the first `count` floats, 4 at most. */
export function storeLanes(at: usize, v: v128, count: i32): void {
  if (count >= 4) {
    v128.store(at, v);
    return;
  }
  if (count > 0) v128.store_lane<f32>(at, v, 0);
  if (count > 1) v128.store_lane<f32>(at + 4, v, 1);
  if (count > 2) v128.store_lane<f32>(at + 8, v, 2);
}
