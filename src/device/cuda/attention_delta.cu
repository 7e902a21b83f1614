// delta[b,h,i] = sum over D of dout * o, in f32: what the softmax's backward needs of every row.
// Inputs: o, dout [B,Tq,H,D] strided. Output: delta f32 [B,H,Tq], strided like lse.
// Grid: x = ceil(B * Tq * H / 32) blocks of 256 threads; 8 threads own a row, in memory order (b, t, h).
// Follows FlashAttention-2 (arXiv 2307.08691), the preprocess of its backward.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256) attention_delta(const __grid_constant__ AttentionArgs a) {
  const u32 at = blockIdx.x * 32 + (threadIdx.x >> 3), rows = a.H * a.Tq;  // at most 2^31 rows
  const bool inside = at < a.B * rows;
  const int h = at % a.H, t = at / a.H % a.Tq, b = inside ? at / rows : 0;
  float sum = 0.f;
  if (inside) {
    const u16* o = view_head<u16>(a.o, b, h) + t * a.o.row;
    const u16* dout = view_head<u16>(a.dout, b, h) + t * a.dout.row;
    for (int d = (threadIdx.x & 7) * 8; d < a.D; d += 64) {
      uint4 x = *(const uint4*)(o + d), y = *(const uint4*)(dout + d);
      const u32 *p = &x.x, *q = &y.x;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float2 u = unpack(p[i]), w = unpack(q[i]);
        sum = fmaf(u.x, w.x, fmaf(u.y, w.y, sum));
      }
    }
  }
  sum += __shfl_xor_sync(0xffffffffu, sum, 4);
  sum = quad_sum(sum);
  if (inside && (threadIdx.x & 7) == 0) view_head<float>(a.delta, b, h)[t * a.delta.row] = sum;
}
