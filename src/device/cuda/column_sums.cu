// columnSums: out[c] += sum over n of x[n,c], in two steps.
//
//   column_sums:     partials f32 [slabs,C] of a matrix x [N,C] of elements, slab s being rows s * slabRows and on.
//   column_sums_add: adds f32 partials [N,C] into f32 out [C]; two matrices, one after the other in memory, where grid
//                    y is 2.
// Grid:    column_sums: x = columns / (32 * WIDTH), y = slabs; blocks of 256 threads: 32 groups of WIDTH columns (8: by
//          16 bytes, which needs C a multiple of 8 and a pointer of 16; or 1), 8 rows at a time.
//          column_sums_add: x = C / 32, y = matrices; blocks of 1024 threads: 32 columns, 32 rows at a time.
// Scratch: slabs * C * 4 bytes.
// Set by the launcher: WIDTH (8 or 1), ELEMENT_F16.
// Numerics: float32 in a fixed order: equal bits run to run.
#include "rows.cuh"

#ifndef WIDTH
#define WIDTH 8
#endif

struct ColumnSumsArgs {
  const u16* x;
  float* partials;
  int N, C, slabRows;
};

struct ColumnSumsAddArgs {
  const float* partials;
  float* outs[2];
  int N, C;
};

constexpr int GROUPS = 32, ROW_LANES = 8, ADD_LANES = 32;

/** Adds the WIDTH elements of row n to the sums. */
DEVICE void add_row(const ColumnSumsArgs& a, int n, int column, float (&sums)[WIDTH]) {
  const u16* from = a.x + (i64)n * a.C + column;
#if WIDTH == 8
  float v[8];
  unpack8(*(const uint4*)from, v);
#pragma unroll
  for (int k = 0; k < 8; ++k) sums[k] += v[k];
#else
  sums[0] += element(*from);
#endif
}

extern "C" __global__ void __launch_bounds__(GROUPS* ROW_LANES)
    column_sums(const __grid_constant__ ColumnSumsArgs a) {
  __shared__ float parts[ROW_LANES][GROUPS * WIDTH];
  const int group = threadIdx.x % GROUPS, lane = threadIdx.x / GROUPS, first = blockIdx.x * GROUPS * WIDTH;
  const int column = first + group * WIDTH;
  const int begin = blockIdx.y * a.slabRows, end = min(a.N, begin + a.slabRows);
  float sums[WIDTH] = {};
  if (column < a.C) {
#pragma unroll 4
    for (int n = begin + lane; n < end; n += ROW_LANES) add_row(a, n, column, sums);
  }
#pragma unroll
  for (int k = 0; k < WIDTH; ++k) parts[lane][group * WIDTH + k] = sums[k];
  __syncthreads();  // guards parts: every row lane's sums are written
  for (int c = threadIdx.x; c < GROUPS * WIDTH; c += GROUPS * ROW_LANES) {
    if (first + c >= a.C) break;
    float sum = 0.f;
#pragma unroll
    for (int r = 0; r < ROW_LANES; ++r) sum += parts[r][c];
    a.partials[(i64)blockIdx.y * a.C + first + c] = sum;
  }
}

extern "C" __global__ void __launch_bounds__(32 * ADD_LANES)
    column_sums_add(const __grid_constant__ ColumnSumsAddArgs a) {
  __shared__ float parts[ADD_LANES][32];
  const int lane = threadIdx.x / 32, column = blockIdx.x * 32 + threadIdx.x % 32;
  const float* partials = a.partials + (i64)blockIdx.y * a.N * a.C;
  float sum = 0.f;
  if (column < a.C) {
#pragma unroll 4
    for (int n = lane; n < a.N; n += ADD_LANES) sum += partials[(i64)n * a.C + column];
  }
  parts[lane][threadIdx.x % 32] = sum;
  __syncthreads();  // guards parts: every row lane's sum is written
  if (lane > 0 || column >= a.C) return;
  sum = 0.f;
#pragma unroll
  for (int r = 0; r < ADD_LANES; ++r) sum += parts[r][threadIdx.x];
  a.outs[blockIdx.y][column] += sum;
}
