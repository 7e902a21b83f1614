// GELU in the tanh form of GPT-2 (Hendrycks and Gimpel, arXiv 1606.08415), as x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)):
// the same function, without the cancellation of 1 + tanh in the tail.
import { expx4, madd } from "./simd.as";

const TWICE_SQRT_2_OVER_PI: f32 = 1.5957691216;
const CUBIC: f32 = 0.044715;
const LARGEST: f32 = 88; // its exp is a number

/** exp(-2 sqrt(2/pi) (x + 0.044715 x^3)) */
// @ts-ignore: decorator
@inline
function tail(x: v128): v128 {
  const inner = madd(f32x4.mul(x, f32x4.splat(CUBIC)), f32x4.mul(x, x), x);
  return expx4(f32x4.min(f32x4.mul(inner, f32x4.splat(-TWICE_SQRT_2_OVER_PI)), f32x4.splat(LARGEST)));
}

// @ts-ignore: decorator
@inline
export function gelu(x: v128): v128 {
  return f32x4.div(x, f32x4.add(f32x4.splat(1), tail(x)));
}

// @ts-ignore: decorator
@inline
export function geluSlope(x: v128): v128 {
  const one = f32x4.splat(1);
  const t = tail(x);
  const sigmoid = f32x4.div(one, f32x4.add(one, t));
  const innerSlope = madd(f32x4.splat(3 * CUBIC * TWICE_SQRT_2_OVER_PI), f32x4.mul(x, x), f32x4.splat(TWICE_SQRT_2_OVER_PI));
  // t * sigmoid is 1 - sigmoid, at most 1, also where t is near the largest number.
  return madd(f32x4.mul(x, innerSlope), f32x4.mul(sigmoid, f32x4.mul(t, sigmoid)), sigmoid);
}
