// The online softmax of a pair of rows in the accumulator layout of the tensor cores: a thread holds two rows, four
// threads share a row. Follows FlashAttention-2 (arXiv 2307.08691): the sum stays per thread until the end.
#pragma once
#include "common.cuh"

/** m: running maximum of the scaled scores in base 2; l: this thread's part of the running sum. */
struct SoftmaxRows {
  float m[2], l[2];

  DEVICE void reset() {
    m[0] = m[1] = -INFINITE;
    l[0] = l[1] = 0.f;
  }

  /**
   * Turns scores into weights exp2(scale * s - m) in place and returns in `factor` what older sums must be multiplied
   * by. scores [4 * BLOCKS]: of each block of 8 columns two neighbours of the first row, then two of the second.
   * scaleLog2 > 0. A row that has seen nothing keeps m = -Infinity and weights 0.
   */
  template <int BLOCKS> DEVICE void update(float* scores, float scaleLog2, float* factor) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float top0 = fmaxf(scores[2 * r], scores[2 * r + 1]), top1 = -INFINITE;
#pragma unroll
      for (int j = 1; j < BLOCKS; ++j) {
        top0 = fmaxf(top0, scores[4 * j + 2 * r]);
        top1 = fmaxf(top1, scores[4 * j + 2 * r + 1]);
      }
      float top = fmaxf(m[r], quad_max(fmaxf(top0, top1)) * scaleLog2);
      float base = top == -INFINITE ? 0.f : top;
      factor[r] = exp2_fast(m[r] - base);
      m[r] = top;
      float sum0 = 0.f, sum1 = 0.f;
#pragma unroll
      for (int j = 0; j < BLOCKS; ++j) {
        float& x = scores[4 * j + 2 * r];
        float& y = scores[4 * j + 2 * r + 1];
        x = exp2_fast(fmaf(x, scaleLog2, -base));
        y = exp2_fast(fmaf(y, scaleLog2, -base));
        sum0 += x;
        sum1 += y;
      }
      l[r] = fmaf(l[r], factor[r], sum0 + sum1);
    }
  }

  /** Adds up the four threads of a row. */
  DEVICE void finish() {
    l[0] = quad_sum(l[0]);
    l[1] = quad_sum(l[1]);
  }

  /** Natural log of the sum of exp; -Infinity for a row that saw nothing. */
  DEVICE float lse(int r) const { return l[r] > 0.f ? (m[r] + __log2f(l[r])) * LN_2 : -INFINITE; }
  DEVICE float inverse(int r) const {
    float x;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(x) : "f"(l[r]));
    return l[r] > 0.f ? x : 0.f;
  }
};

/** Takes out what a row does not see: columns `column + offset` outside begin <= c < end, two rows a thread. */
template <int BLOCKS> DEVICE void mask_scores(float* scores, int column, const int* begin, const int* end) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    u32 width = (u32)(end[r] - begin[r]);
    int at = column - begin[r];
#pragma unroll
    for (int j = 0; j < BLOCKS; ++j) {
      if ((u32)(at + 8 * j) >= width) scores[4 * j + 2 * r] = -INFINITE;
      if ((u32)(at + 8 * j + 1) >= width) scores[4 * j + 2 * r + 1] = -INFINITE;
    }
  }
}

/** Log-sum-exp merge of this part (lse) with an older one (before): their weights, and the lse of both. */
DEVICE float merge_parts(float lse, float before, float* weight, float* weightBefore) {
  float top = fmaxf(lse, before);
  if (top == -INFINITE) {
    *weight = 0.f;
    *weightBefore = 0.f;
    return top;
  }
  float both = top + __logf(__expf(lse - top) + __expf(before - top));
  *weight = __expf(lse - both);
  *weightBefore = __expf(before - both);
  return both;
}
