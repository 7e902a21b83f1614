// GELU in the tanh form of GPT-2 (Hendrycks and Gimpel, arXiv 1606.08415), as x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)):
// the same function, without the cancellation of 1 + tanh in the tail.
import { vec } from "./simd.as";

const TWICE_SQRT_2_OVER_PI: f32 = 1.5957691216;
const CUBIC: f32 = 0.044715;

export class gelu {
  /** exp(-2 sqrt(2/pi) (x + 0.044715 x^3)) */
  @inline
  static tail(x: v128): v128 {
    const cubic = f32x4.mul(f32x4.mul(x, x), f32x4.splat(CUBIC));
    const inner = vec.madd(x, cubic, x);
    return vec.exp(f32x4.mul(inner, f32x4.splat(-TWICE_SQRT_2_OVER_PI)));
  }

  @inline
  static value(x: v128): v128 {
    return f32x4.div(x, f32x4.add(f32x4.splat(1), gelu.tail(x)));
  }

  @inline
  static slope(x: v128): v128 {
    const one = f32x4.splat(1);
    const tail = gelu.tail(x);
    const sigmoid = f32x4.div(one, f32x4.add(one, tail));
    const innerSlope = f32x4.mul(
      f32x4.splat(TWICE_SQRT_2_OVER_PI),
      vec.madd(f32x4.splat(3 * CUBIC), f32x4.mul(x, x), one),
    );
    // tail * sigmoid is 1 - sigmoid, at most 1, also where tail is near the largest number.
    const sigmoidSlope = f32x4.mul(sigmoid, f32x4.mul(tail, sigmoid));
    return vec.madd(f32x4.mul(x, innerSlope), sigmoidSlope, sigmoid);
  }
}
