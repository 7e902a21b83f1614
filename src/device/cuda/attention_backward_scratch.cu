// What stands before and after attention_backward_sm90: its statistics and its sums of dq.
//
//   attention_backward_prepare: stats [B,H,Tq'] of (-lse in base 2, delta) in visit order, and dqSum set to zero.
//   attention_backward_finish:  dq rows = scale * dqSum, from the accumulator layout, through qRows; added into with
//                               accumulateQ.
// Inputs:  lse, delta f32 [B,H,Tq] strided; qRows. Output: dq [B,Tq,H,D] strided. Tq' is Tq padded to 64.
// Scratch: stats B*H*Tq' * 8 bytes; dqSum B*H*Tq' * HEAD_DIM * 4 bytes.
// Grid:    x = Tq'/64 * H * B blocks of 128 threads; a block owns 64 query places of a head.
// Set by the launcher: HEAD_DIM (64), WITH_DQ (0: prepare leaves dqSum alone), ELEMENT_F16, IDENTITY.
#include "common.cuh"

static_assert(HEAD_DIM == 64, "the layout of attention_backward_sm90");
constexpr int ROWS = 64;

struct Place {
  int b, h, first;
  const int* qRows;
  DEVICE Place(const AttentionArgs& a) {
    const int tiles = (a.Tq + ROWS - 1) / ROWS;
    first = blockIdx.x % tiles * ROWS;
    h = blockIdx.x / tiles % a.H;
    b = blockIdx.x / tiles / a.H;
    qRows = a.qRows.data ? index_row(a.qRows, b, h) : nullptr;
  }
};

extern "C" __global__ void __launch_bounds__(128) attention_backward_prepare(const __grid_constant__ AttentionArgs a) {
  const Place p(a);
#if WITH_DQ
  float4* sums = (float4*)a.dqSum + (i64)blockIdx.x * (ROWS * HEAD_DIM / 4);
#pragma unroll
  for (int i = 0; i < ROWS * HEAD_DIM / 4 / 128; ++i) sums[i * 128 + threadIdx.x] = make_float4(0.f, 0.f, 0.f, 0.f);
#endif
  if (threadIdx.x >= ROWS) return;
  // A row that does not exist, or saw nothing, gets weights exp2(s - Infinity) = 0.
  float2 s = make_float2(-INFINITE, 0.f);
  const int place = p.first + threadIdx.x;
  if (place < a.Tq) {
    const int row = row_at(p.qRows, place);
    const float lse = view_head<float>(a.lse, p.b, p.h)[row * a.lse.row];
    if (lse != -INFINITE) s = make_float2(-lse * LOG2_E, view_head<float>(a.delta, p.b, p.h)[row * a.delta.row]);
  }
  ((float2*)a.stats)[(i64)blockIdx.x * ROWS + threadIdx.x] = s;
}

extern "C" __global__ void __launch_bounds__(128) attention_backward_finish(const __grid_constant__ AttentionArgs a) {
  constexpr int STRIDE = HEAD_DIM / 2 + 4;  // packed pairs a row, with a chunk of padding against bank conflicts
  __shared__ __align__(16) u32 tile[ROWS * STRIDE];
  const Place p(a);
  const int lane = threadIdx.x & 31, row = (threadIdx.x >> 5) * 16 + (lane >> 2);
  const float4* sums = (const float4*)a.dqSum + (i64)blockIdx.x * (ROWS * HEAD_DIM / 4) + threadIdx.x;
#pragma unroll
  for (int j = 0; j < HEAD_DIM / 8; ++j) {
    const float4 x = sums[j * 128];
    tile[row * STRIDE + j * 4 + (lane & 3)] = pack(x.x * a.scale, x.y * a.scale);
    tile[(row + 8) * STRIDE + j * 4 + (lane & 3)] = pack(x.z * a.scale, x.w * a.scale);
  }
  __syncthreads();  // guards the tile: all rows are written
  u16* base = view_head<u16>(a.dq, p.b, p.h);
#pragma unroll
  for (int i = 0; i < ROWS / 16; ++i) {
    const int r = i * 16 + (threadIdx.x >> 3), chunk = threadIdx.x & 7;
    if (p.first + r >= a.Tq) continue;
    uint4* to = (uint4*)(base + row_at(p.qRows, p.first + r) * a.dq.row + chunk * 8);
    const uint4 x = *(const uint4*)(tile + r * STRIDE + chunk * 4);
    *to = a.accumulateQ ? add8(x, *to) : x;
  }
}
