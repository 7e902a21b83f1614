// GELU in the tanh form of GPT-2 (Hendrycks and Gimpel, arXiv 1606.08415), as x * sigmoid(2 sqrt(2/pi) (x + 0.044715
// x^3)): the same function, without the cancellation of 1 + tanh in the tail. Also one 16-bit element as float32.
#pragma once
#include "common.cuh"

constexpr float TWICE_SQRT_2_OVER_PI = 1.5957691216057308f;
constexpr float CUBIC = 0.044715f;
// Keeps the exponential below 2^126, past which the fast division gives 0 for every quotient.
constexpr float LARGEST_EXPONENT = 120.0f;

/** exp(-2 sqrt(2/pi) (x + 0.044715 x^3)) */
DEVICE float gelu_tail(float x) {
  float inner = fmaf(x * CUBIC, x * x, x);
  return exp2_fast(fminf(inner * (-TWICE_SQRT_2_OVER_PI * LOG2_E), LARGEST_EXPONENT));
}

DEVICE float gelu(float x) { return __fdividef(x, 1.0f + gelu_tail(x)); }

DEVICE float gelu_slope(float x) {
  float tail = gelu_tail(x);
  float sigmoid = __fdividef(1.0f, 1.0f + tail);
  float inner_slope = fmaf(3.0f * CUBIC * TWICE_SQRT_2_OVER_PI, x * x, TWICE_SQRT_2_OVER_PI);
  // tail * sigmoid is 1 - sigmoid, at most 1.
  return fmaf(x * inner_slope, sigmoid * (tail * sigmoid), sigmoid);
}

DEVICE float element_to_float(u16 x) { return unpack(x).x; }
DEVICE u16 float_to_element(float x) { return (u16)pack(x, 0.0f); }
