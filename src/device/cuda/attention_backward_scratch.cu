// What stands before and after attention_backward_sm90: its statistics and its sums of dq.
//
//   attention_backward_prepare: stats [B,H,Tq'] of (-lse in base 2, delta) in visit order, and dqSum set to zero.
//   attention_backward_finish:  dq rows = scale * dqSum, from the accumulator layout, through qRows; added into with
//                               accumulateQ.
// Inputs:  lse, delta f32 [B,H,Tq] strided; where delta.data is null, o and dout [B,Tq,H,D] strided, 16-byte aligned
//          rows, and prepare makes delta itself, of rows that see a key (one pass less where one staircase is all);
//          qRows, lo, hi. Output: dq [B,Tq,H,D] strided. Tq' is Tq padded to 64.
// Scratch: stats B*H*Tq' * 8 bytes; dqSum B*H*Tq' * HEAD_DIM * 4 bytes, left as it is where no query of 64 sees a key.
// Grid:    x = Tq'/64 * H * B blocks of 256 threads; a block owns 64 query places of a head.
// Set by the launcher: HEAD_DIM (64 or 128), WITH_DQ (0: prepare leaves dqSum alone), ELEMENT_F16, IDENTITY.
#include "common.cuh"

static_assert(HEAD_DIM == 64 || HEAD_DIM == 128, "the layout of attention_backward_sm90");
constexpr int ROWS = 64, THREADS = 256;
constexpr int LANES = HEAD_DIM / 8;            // threads of a row, 16 bytes each
constexpr int PASSES = ROWS * LANES / THREADS;  // rows of a thread
constexpr int SUMS = ROWS * HEAD_DIM / 4 / THREADS;  // of four, a thread

/** The places of a block. Heads run fastest, since the rows of all heads at a position are neighbours in memory. */
struct Place {
  int b, h, first;
  i64 tile;
  const int* qRows;
  bool empty;  // none of them sees a key
  DEVICE Place(const AttentionArgs& a) {
    const int tiles = (a.Tq + ROWS - 1) / ROWS, at = blockIdx.x / a.H % tiles;
    first = at * ROWS;
    h = blockIdx.x % a.H;
    b = blockIdx.x / a.H / tiles;
    tile = (i64)(b * a.H + h) * tiles + at;
    qRows = a.qRows.data ? index_row(a.qRows, b, h) : nullptr;
    const int last = min(first + ROWS, a.Tq) - 1;
    empty = __ldg(index_row(a.hi, b, h) + last) <= __ldg(index_row(a.lo, b, h) + first);
  }
};

/** Sum over D of dout * o of a row, by LANES neighbouring threads. */
DEVICE float delta_of_row(const AttentionArgs& a, const Place& p, int row, bool seeing) {
  const int d = (threadIdx.x & (LANES - 1)) * 8;
  float sum = 0.f;
  if (seeing) {
    const uint4 x = __ldg((const uint4*)(view_head<u16>(a.o, p.b, p.h) + row * a.o.row + d));
    const uint4 y = __ldg((const uint4*)(view_head<u16>(a.dout, p.b, p.h) + row * a.dout.row + d));
    const u32 *s = &x.x, *t = &y.x;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 u = unpack(s[i]), w = unpack(t[i]);
      sum = fmaf(u.x, w.x, fmaf(u.y, w.y, sum));
    }
  }
#pragma unroll
  for (int distance = LANES / 2; distance > 2; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  return quad_sum(sum);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_backward_prepare(const __grid_constant__ AttentionArgs a) {
  const Place p(a);
#if WITH_DQ
  float4* sums = (float4*)a.dqSum + p.tile * (ROWS * HEAD_DIM / 4);
  if (!p.empty)
#pragma unroll
    for (int i = 0; i < SUMS; ++i) sums[i * THREADS + threadIdx.x] = make_float4(0.f, 0.f, 0.f, 0.f);
#endif
  int row[PASSES];
  float lse[PASSES];
#pragma unroll
  for (int i = 0; i < PASSES; ++i) {
    const int place = p.first + i * (THREADS / LANES) + threadIdx.x / LANES;
    const bool inside = !p.empty && place < a.Tq;
    row[i] = inside ? row_at(p.qRows, place) : 0;
    lse[i] = inside ? view_head<float>(a.lse, p.b, p.h)[row[i] * a.lse.row] : -INFINITE;
  }
#pragma unroll
  for (int i = 0; i < PASSES; ++i) {
    // A row that does not exist, or saw nothing, gets weights exp2(s - Infinity) = 0.
    float2 s = make_float2(-INFINITE, 0.f);
    const bool seeing = lse[i] != -INFINITE;
    if (a.delta.data == nullptr)
      s.y = delta_of_row(a, p, row[i], seeing);
    else if (seeing)
      s.y = view_head<float>(a.delta, p.b, p.h)[row[i] * a.delta.row];
    if (seeing) s.x = -lse[i] * LOG2_E;
    if (threadIdx.x % LANES == 0)
      ((float2*)a.stats)[p.tile * ROWS + i * (THREADS / LANES) + threadIdx.x / LANES] = s;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_backward_finish(const __grid_constant__ AttentionArgs a) {
  constexpr int STRIDE = HEAD_DIM / 2 + 4;  // packed pairs a row, with a chunk of padding against bank conflicts
  __shared__ __align__(16) u32 tile[ROWS * STRIDE];
  const Place p(a);
  if (p.empty && a.accumulateQ) return;
  int row[PASSES];
#pragma unroll
  for (int i = 0; i < PASSES; ++i) {
    const int place = p.first + i * (THREADS / LANES) + threadIdx.x / LANES;
    row[i] = place < a.Tq ? row_at(p.qRows, place) : -1;
  }
  if (!p.empty) {
    // The sums lie as 128 threads held them, features 8 j + 2 (lane % 4) of two rows: two threads here for one there.
    const int half = threadIdx.x >> 7, lane = threadIdx.x & 31, r = (threadIdx.x >> 5 & 3) * 16 + (lane >> 2);
    const float4* sums = (const float4*)a.dqSum + p.tile * (ROWS * HEAD_DIM / 4) + threadIdx.x;
#pragma unroll
    for (int i = 0; i < SUMS; ++i) {
      const float4 x = sums[i * THREADS];
      const int j = 2 * i + half;
      tile[r * STRIDE + j * 4 + (lane & 3)] = pack(x.x * a.scale, x.y * a.scale);
      tile[(r + 8) * STRIDE + j * 4 + (lane & 3)] = pack(x.z * a.scale, x.w * a.scale);
    }
    __syncthreads();  // guards the tile: all rows are written
  }
  u16* base = view_head<u16>(a.dq, p.b, p.h);
#pragma unroll
  for (int i = 0; i < PASSES; ++i) {
    if (row[i] < 0) continue;
    const int r = i * (THREADS / LANES) + threadIdx.x / LANES, chunk = threadIdx.x % LANES;
    uint4* to = (uint4*)(base + row[i] * a.dq.row + chunk * 8);
    const uint4 x = p.empty ? make_uint4(0, 0, 0, 0) : *(const uint4*)(tile + r * STRIDE + chunk * 4);
    *to = a.accumulateQ ? add8(x, *to) : x;
  }
}
