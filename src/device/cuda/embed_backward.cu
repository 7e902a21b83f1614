// embedBackward: dTokenTable[tokens[b,t]] += dout[b,t], dPositionTable[t] += sum over b of dout[b,t]; tokens out of
// range are passed over.
// Inputs:  tokens i32 [B,T]; dout [B,T,C]. Outputs: dTokenTable f32 [V,C] or null, dPositionTable f32 [T,C] or null.
// Set by the launcher: ELEMENT_F16, WIDTH (columns of a thread: 4 where rows allow it, or 1).
//
// embed_backward: one pass over dout. Grid: x = ceil(T * C / WIDTH / THREADS); a thread owns WIDTH columns of one
//          position and goes through the batch: tokens by atomic adds (of 16 bytes from sm_90 on), its position by a
//          sum of its own. The order of additions to a token's row is not fixed.
// In fixed order, for equal bits run to run, embed_backward adds to the positions only, and two kernels to the tokens:
// sort_tokens: order i32 [B*T]: the rows by (token, row). Grid: x = ceil(B * T / THREADS); a thread counts the rows
//          that come before its own: (B*T)^2 compares, 1e9 for 32768 rows, all from shared memory.
// sum_tokens: Grid: x = B * T, y = ceil(C / WIDTH / SUM_THREADS). The block at the first place of a token owns the
//          token's row, and adds the rows of that token in their order; all other blocks end at once.
// Scratch: 4 * B * T bytes (order).
// Numerics: sums in f32.
#include "elements.cuh"

constexpr int THREADS = 256, SUM_THREADS = 192;
constexpr int BATCH_GROUP = 4;  // rows that a thread has in flight
constexpr int CHUNK = 4 * THREADS;  // tokens in shared memory at a time
constexpr int ELEMENT = ELEMENT_F16 ? F16 : BF16;

struct EmbedBackwardArgs {
  const int* tokens;
  const void* dout;
  float *dTokenTable, *dPositionTable;
  int* order;
  int B, T, V, C;
};

template <int N> DEVICE void add_to(float (&sum)[N], const float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) sum[i] += x[i];
}

DEVICE void add_atomically(float* to, const float (&x)[1]) { atomicAdd(to, x[0]); }

DEVICE void add_atomically(float* to, const float (&x)[4]) {
#if __CUDA_ARCH__ >= 900
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(x[0]), "f"(x[1]), "f"(x[2]),
               "f"(x[3])
               : "memory");
#else
#pragma unroll
  for (int i = 0; i < 4; ++i) atomicAdd(to + i, x[i]);
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS) embed_backward(const __grid_constant__ EmbedBackwardArgs a) {
  const i64 place = (i64)blockIdx.x * THREADS + threadIdx.x;
  const int columns = a.C / WIDTH, t = (int)(place / columns), c = (int)(place - (i64)t * columns) * WIDTH;
  if (t >= a.T) return;
  float sum[WIDTH] = {};
  for (int first = 0; first < a.B; first += BATCH_GROUP) {
    float x[BATCH_GROUP][WIDTH];
    u32 token[BATCH_GROUP];
#pragma unroll
    for (int n = 0; n < BATCH_GROUP; ++n) {
      const i64 row = (i64)(first + n) * a.T + t;
      token[n] = first + n < a.B ? (u32)a.tokens[row] : 0xffffffffu;
      if (token[n] < (u32)a.V) load<ELEMENT>(a.dout, row * a.C + c, x[n]);
    }
#pragma unroll
    for (int n = 0; n < BATCH_GROUP; ++n) {
      if (token[n] >= (u32)a.V) continue;
      add_to(sum, x[n]);
      if (a.dTokenTable) add_atomically(a.dTokenTable + (i64)token[n] * a.C + c, x[n]);
    }
  }
  if (!a.dPositionTable) return;
  const i64 target = (i64)t * a.C + c;
  float old[WIDTH];
  load<F32>(a.dPositionTable, target, old);
  add_to(old, sum);
  store<F32>(a.dPositionTable, target, old);
}

extern "C" __global__ void __launch_bounds__(THREADS) sort_tokens(const __grid_constant__ EmbedBackwardArgs a) {
  __shared__ uint4 chunk[THREADS];
  const u32 rows = a.B * a.T, own = blockIdx.x * THREADS + threadIdx.x, V = a.V;
  // Tokens out of range come last, as one token V.
  const u32 mine = own < rows ? min((u32)a.tokens[own], V) : V;
  u32 before = 0;
  for (u32 first = 0; first < rows; first += CHUNK) {
    u32 loaded[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const u32 row = first + threadIdx.x * 4 + i;
      loaded[i] = row < rows ? min((u32)a.tokens[row], V) : 0xffffffffu;
    }
    __syncthreads();  // all have read the last chunk
    chunk[threadIdx.x] = make_uint4(loaded[0], loaded[1], loaded[2], loaded[3]);
    __syncthreads();  // this chunk is there
#pragma unroll 8
    for (int i = 0; i < THREADS; ++i) {
      const uint4 others = chunk[i];
      const u32 row = first + 4 * i;
      before += others.x < mine + (row < own);
      before += others.y < mine + (row + 1 < own);
      before += others.z < mine + (row + 2 < own);
      before += others.w < mine + (row + 3 < own);
    }
  }
  if (own < rows) a.order[before] = own;
}

extern "C" __global__ void __launch_bounds__(SUM_THREADS) sum_tokens(const __grid_constant__ EmbedBackwardArgs a) {
  const u32 rows = a.B * a.T, start = blockIdx.x;
  const int row = a.order[start], token = a.tokens[row];
  if ((u32)token >= (u32)a.V || (start > 0 && a.tokens[a.order[start - 1]] == token)) return;
  const int c = (blockIdx.y * SUM_THREADS + threadIdx.x) * WIDTH;
  if (c >= a.C) return;
  float sum[WIDTH] = {};
  for (u32 first = start; first < rows; first += BATCH_GROUP) {
    float x[BATCH_GROUP][WIDTH];
    bool same[BATCH_GROUP];
#pragma unroll
    for (int n = 0; n < BATCH_GROUP; ++n) {
      const i64 source = first + n < rows ? a.order[first + n] : -1;
      same[n] = source >= 0 && a.tokens[source] == token;
      if (same[n]) load<ELEMENT>(a.dout, source * a.C + c, x[n]);
    }
#pragma unroll
    for (int n = 0; n < BATCH_GROUP; ++n)
      if (same[n]) add_to(sum, x[n]);
    if (!same[BATCH_GROUP - 1]) break;
  }
  const i64 target = (i64)token * a.C + c;
  float old[WIDTH];
  load<F32>(a.dTokenTable, target, old);
  add_to(old, sum);
  store<F32>(a.dTokenTable, target, old);
}
