// layerNorm: out = (x - mean) * rstd * weight + bias over rows of C elements; mean and rstd of each row.
//
//   layer_norm:     C a multiple of 8 and all pointers of 16 bytes; a row stays in registers.
//   layer_norm_any: any C and any pointers; a row is read three times, from the caches but for the first.
// Inputs:  x [N,C], weight [C], bias [C] or null. Outputs: out [N,C] (may be x), mean, rstd f32 [N].
// Grid:    layer_norm: ROW_WARPS warps own a row, thread t of them the chunks t + i * 32 * ROW_WARPS of 8 elements;
//          blocks of 8 rows where ROW_WARPS is 1, of one row otherwise. layer_norm_any: a block of 256 threads a row.
// Scratch: none.
// Set by the launcher: ROW_WARPS, CHUNKS (chunks a thread, so that 256 * ROW_WARPS * CHUNKS >= C), ELEMENT_F16.
// Numerics: float32; the variance of centred values in a second pass, so that rows far from zero keep their digits.
// Follows layer normalisation (arXiv 1607.06450).
#include "rows.cuh"

#ifndef ROW_WARPS
#define ROW_WARPS 1
#endif
#ifndef CHUNKS
#define CHUNKS 1
#endif

struct LayerNormArgs {
  const u16 *x, *weight, *bias;
  u16* out;
  float *mean, *rstd;
  int N, C;
  float epsilon;
};

constexpr int ROW_THREADS = 32 * ROW_WARPS;
constexpr int ROWS = ROW_WARPS == 1 ? 8 : 1;
constexpr int ANY_WARPS = 8;

extern "C" __global__ void __launch_bounds__(ROW_THREADS * ROWS) layer_norm(const __grid_constant__ LayerNormArgs a) {
  __shared__ float sums[ROW_WARPS], squares[ROW_WARPS];
  const int row = blockIdx.x * ROWS + threadIdx.x / ROW_THREADS, thread = threadIdx.x % ROW_THREADS;
  if (row >= a.N) return;  // whole warps, and only where no barrier follows
  const int chunks = a.C / 8;
  const uint4* x = (const uint4*)(a.x + (i64)row * a.C);
  // Load and mean.
  uint4 held[CHUNKS];
  float v[8], sum = 0.f;
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    const int at = thread + i * ROW_THREADS;
    held[i] = at < chunks ? x[at] : make_uint4(0, 0, 0, 0);
  }
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    unpack8(held[i], v);
#pragma unroll
    for (int k = 0; k < 8; ++k) sum += v[k];
  }
  const float mean = block_sum<ROW_WARPS>(sum, sums) / a.C;
  // Variance.
  float square = 0.f;
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    if (thread + i * ROW_THREADS >= chunks) break;
    unpack8(held[i], v);
#pragma unroll
    for (int k = 0; k < 8; ++k) square = fmaf(v[k] - mean, v[k] - mean, square);
  }
  const float rstd = rsqrtf(block_sum<ROW_WARPS>(square, squares) / a.C + a.epsilon);
  // Store.
  if (thread == 0) {
    a.mean[row] = mean;
    a.rstd[row] = rstd;
  }
  uint4* out = (uint4*)(a.out + (i64)row * a.C);
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    const int at = thread + i * ROW_THREADS;
    if (at >= chunks) break;
    float w[8], b[8] = {};
    unpack8(held[i], v);
    unpack8(__ldg((const uint4*)a.weight + at), w);
    if (a.bias) unpack8(__ldg((const uint4*)a.bias + at), b);
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = fmaf((v[k] - mean) * rstd, w[k], b[k]);
    out[at] = pack8(v);
  }
}

extern "C" __global__ void __launch_bounds__(32 * ANY_WARPS) layer_norm_any(const __grid_constant__ LayerNormArgs a) {
  __shared__ float sums[ANY_WARPS], squares[ANY_WARPS];
  const u16* x = a.x + (i64)blockIdx.x * a.C;
  u16* out = a.out + (i64)blockIdx.x * a.C;
  float sum = 0.f, square = 0.f;
  for (int c = threadIdx.x; c < a.C; c += 32 * ANY_WARPS) sum += element(x[c]);
  const float mean = block_sum<ANY_WARPS>(sum, sums) / a.C;
  for (int c = threadIdx.x; c < a.C; c += 32 * ANY_WARPS) {
    const float centred = element(x[c]) - mean;
    square = fmaf(centred, centred, square);
  }
  const float rstd = rsqrtf(block_sum<ANY_WARPS>(square, squares) / a.C + a.epsilon);
  if (threadIdx.x == 0) {
    a.mean[blockIdx.x] = mean;
    a.rstd[blockIdx.x] = rstd;
  }
  for (int c = threadIdx.x; c < a.C; c += 32 * ANY_WARPS) {
    const float bias = a.bias ? element(a.bias[c]) : 0.f;
    out[c] = to_element(fmaf((element(x[c]) - mean) * rstd, element(a.weight[c]), bias));
  }
}
