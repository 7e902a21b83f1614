// What the kernels over rows share: packs of eight elements, single elements, and sums over warps and blocks in a fixed
// order.
#pragma once
#include "common.cuh"

/** Eight packed elements as f32. */
DEVICE void unpack8(uint4 x, float (&values)[8]) {
  const u32* pairs = &x.x;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = unpack(pairs[i]);
    values[2 * i] = pair.x;
    values[2 * i + 1] = pair.y;
  }
}

DEVICE uint4 pack8(const float (&values)[8]) {
  uint4 r;
  u32* pairs = &r.x;
#pragma unroll
  for (int i = 0; i < 4; ++i) pairs[i] = pack(values[2 * i], values[2 * i + 1]);
  return r;
}

DEVICE float element(u16 x) { return unpack(x).x; }
DEVICE u16 to_element(float x) { return (u16)pack(x, 0.f); }

/** Sum over the warp, the same bits in every lane. */
DEVICE float warp_sum(float x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

/**
 * Sum over a block of WARPS warps, the same bits in every thread. `slots` are WARPS numbers in shared memory: two calls
 * with a barrier between them (that of another call will do) may use the same.
 */
template <int WARPS> DEVICE float block_sum(float x, float* slots) {
  x = warp_sum(x);
  if constexpr (WARPS == 1) return x;
  if ((threadIdx.x & 31) == 0) slots[threadIdx.x >> 5] = x;
  __syncthreads();  // guards slots: every warp's sum is written
  float sum = 0.f;
#pragma unroll
  for (int w = 0; w < WARPS; ++w) sum += slots[w];
  return sum;
}
