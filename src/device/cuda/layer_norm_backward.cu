// layerNormBackward: with xHat = (x - mean) * rstd and g = dout * weight, adds
// rstd * (g - mean(g) - xHat * mean(g xHat)) into dx, and leaves partial sums over rows of dout * xHat (for
// dWeight) and of dout (for dBias) for column_sums_add.
//
//   layer_norm_backward:         all of it in one read; C a multiple of 8 and all pointers of 16 bytes.
//   layer_norm_backward_any:     dx for any C and any pointers; a row is read twice.
//   layer_norm_backward_columns: the partial sums for any C and any pointers.
// Inputs:  x, dout [N,C], weight [C], mean, rstd f32 [N]. Outputs: dx [N,C], added into and rounded once;
//          partials f32 [1 + WITH_BIAS, rows, C], dWeight's before dBias'.
// Grid:    layer_norm_backward: as many blocks as the device holds at once; ROW_WARPS warps own every so manieth row,
//          thread t of them the chunks t + i * 32 * ROW_WARPS of 8 elements, of which it keeps sums over its rows;
//          blocks of 8 rows where ROW_WARPS is 1, of one row otherwise. One line of partials a block.
//          layer_norm_backward_any: a block of 256 threads a row.
//          layer_norm_backward_columns: x = C / 32, y = slabs of slabRows rows; blocks of 256 threads: 32 columns,
//          8 rows at a time. One line of partials a slab.
// Scratch: (1 + WITH_BIAS) * blocks or slabs * C * 4 bytes.
// Set by the launcher: ROW_WARPS, CHUNKS (chunks a thread, so that 256 * ROW_WARPS * CHUNKS >= C), WITH_BIAS,
// ELEMENT_F16.
// Numerics: float32 in a fixed order: equal bits run to run on devices of one kind.
// Follows layer normalisation (arXiv 1607.06450).
#include "rows.cuh"

#ifndef ROW_WARPS
#define ROW_WARPS 1
#endif
#ifndef CHUNKS
#define CHUNKS 1
#endif
#ifndef WITH_BIAS
#define WITH_BIAS 0
#endif

struct LayerNormBackwardArgs {
  const u16 *x, *weight, *dout;
  const float *mean, *rstd;
  u16* dx;
  float* partials;
  int N, C, slabRows;
};

constexpr int ROW_THREADS = 32 * ROW_WARPS;
constexpr int ROWS = ROW_WARPS == 1 ? 8 : 1;
constexpr int THREADS = ROW_THREADS * ROWS;
constexpr int BLOCKS_PER_PROCESSOR = 512 / THREADS;  // the launcher's grid relies on it
constexpr int ANY_WARPS = 8;
constexpr int COLUMNS = 32, ROW_LANES = 8;

/** Sums over the rows of one thread. */
struct ColumnSums {
  float dWeight[CHUNKS][8] = {}, dBias[WITH_BIAS ? CHUNKS : 1][8] = {};
};

/** What a thread holds of a row. */
struct RowChunks {
  uint4 x[CHUNKS], dout[CHUNKS], dx[CHUNKS];

  DEVICE void load(const LayerNormBackwardArgs& a, i64 start, int thread, int chunks) {
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
      const int at = thread + i * ROW_THREADS;
      const bool inside = at < chunks;
      const uint4 zeros = make_uint4(0, 0, 0, 0);
      x[i] = inside ? ((const uint4*)(a.x + start))[at] : zeros;
      dout[i] = inside ? ((const uint4*)(a.dout + start))[at] : zeros;
      dx[i] = inside ? ((const uint4*)(a.dx + start))[at] : zeros;
    }
  }
};

/** Partial sums of a block's threads that own the same columns, first warp first, as a line of partials. */
DEVICE void store_sums(const float (&sums)[CHUNKS][8], float* line, int C) {
#if ROW_WARPS == 1
  __shared__ __align__(16) float all[ROWS][CHUNKS * 256];
  __syncthreads();  // guards all: it has been read before
  float4* own = (float4*)all[threadIdx.x / 32];
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    const int at = 2 * (threadIdx.x % 32 + i * 32);
    own[at] = make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
    own[at + 1] = make_float4(sums[i][4], sums[i][5], sums[i][6], sums[i][7]);
  }
  __syncthreads();  // guards all: every warp's sums are written
  for (int c = threadIdx.x; c < C; c += THREADS) {
    float sum = 0.f;
#pragma unroll
    for (int r = 0; r < ROWS; ++r) sum += all[r][c];
    line[c] = sum;
  }
#else
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    const int at = 8 * (threadIdx.x + i * ROW_THREADS);
    if (at >= C) break;
#pragma unroll
    for (int k = 0; k < 8; ++k) line[at + k] = sums[i][k];
  }
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_PROCESSOR)
    layer_norm_backward(const __grid_constant__ LayerNormBackwardArgs a) {
  __shared__ float slots[2][ROW_WARPS];
  const int thread = threadIdx.x % ROW_THREADS, chunks = a.C / 8;
  const float perC = 1.f / a.C;
  ColumnSums sums;
  for (int row = blockIdx.x * ROWS + threadIdx.x / ROW_THREADS; row < a.N; row += gridDim.x * ROWS) {
    // Load, and sums over the row.
    const i64 start = (i64)row * a.C;
    RowChunks held;
    held.load(a, start, thread, chunks);
    const float mean = a.mean[row], rstd = a.rstd[row];
    float x[8], dout[8], w[8], sumG = 0.f, sumGX = 0.f;
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
      const int at = thread + i * ROW_THREADS;
      if (at >= chunks) break;
      unpack8(held.x[i], x);
      unpack8(held.dout[i], dout);
      unpack8(__ldg((const uint4*)a.weight + at), w);
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        const float xHat = (x[k] - mean) * rstd, g = dout[k] * w[k];
        sumG += g;
        sumGX = fmaf(g, xHat, sumGX);
        sums.dWeight[i][k] = fmaf(dout[k], xHat, sums.dWeight[i][k]);
#if WITH_BIAS
        sums.dBias[i][k] += dout[k];
#endif
      }
    }
    const float meanG = block_sum<ROW_WARPS>(sumG, slots[0]) * perC;
    const float meanGX = block_sum<ROW_WARPS>(sumGX, slots[1]) * perC;
    // Add into dx.
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
      const int at = thread + i * ROW_THREADS;
      if (at >= chunks) break;
      float dx[8];
      unpack8(held.x[i], x);
      unpack8(held.dout[i], dout);
      unpack8(held.dx[i], dx);
      unpack8(__ldg((const uint4*)a.weight + at), w);
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        const float xHat = (x[k] - mean) * rstd, g = dout[k] * w[k];
        dx[k] = fmaf(rstd, g - meanG - xHat * meanGX, dx[k]);
      }
      ((uint4*)(a.dx + start))[at] = pack8(dx);
    }
  }
  // Store the sums over rows.
  float* line = a.partials + (i64)blockIdx.x * a.C;
  store_sums(sums.dWeight, line, a.C);
#if WITH_BIAS
  store_sums(sums.dBias, line + (i64)gridDim.x * a.C, a.C);
#endif
}

extern "C" __global__ void __launch_bounds__(32 * ANY_WARPS)
    layer_norm_backward_any(const __grid_constant__ LayerNormBackwardArgs a) {
  __shared__ float slots[2][ANY_WARPS];
  const i64 start = (i64)blockIdx.x * a.C;
  const float mean = a.mean[blockIdx.x], rstd = a.rstd[blockIdx.x];
  float sumG = 0.f, sumGX = 0.f;
  for (int c = threadIdx.x; c < a.C; c += 32 * ANY_WARPS) {
    const float g = element(a.dout[start + c]) * element(a.weight[c]);
    sumG += g;
    sumGX = fmaf(g, (element(a.x[start + c]) - mean) * rstd, sumGX);
  }
  const float meanG = block_sum<ANY_WARPS>(sumG, slots[0]) / a.C;
  const float meanGX = block_sum<ANY_WARPS>(sumGX, slots[1]) / a.C;
  for (int c = threadIdx.x; c < a.C; c += 32 * ANY_WARPS) {
    const float g = element(a.dout[start + c]) * element(a.weight[c]);
    const float xHat = (element(a.x[start + c]) - mean) * rstd;
    a.dx[start + c] = to_element(fmaf(rstd, g - meanG - xHat * meanGX, element(a.dx[start + c])));
  }
}

extern "C" __global__ void __launch_bounds__(COLUMNS* ROW_LANES)
    layer_norm_backward_columns(const __grid_constant__ LayerNormBackwardArgs a) {
  __shared__ float parts[2][ROW_LANES][COLUMNS];
  const int lane = threadIdx.x / COLUMNS, place = threadIdx.x % COLUMNS, column = blockIdx.x * COLUMNS + place;
  const int begin = blockIdx.y * a.slabRows, end = min(a.N, begin + a.slabRows);
  float dWeight = 0.f, dBias = 0.f;
  if (column < a.C) {
#pragma unroll 4
    for (int n = begin + lane; n < end; n += ROW_LANES) {
      const i64 at = (i64)n * a.C + column;
      const float dout = element(a.dout[at]);
      dWeight = fmaf(dout, (element(a.x[at]) - a.mean[n]) * a.rstd[n], dWeight);
      dBias += dout;
    }
  }
  parts[0][lane][place] = dWeight;
  parts[1][lane][place] = dBias;
  __syncthreads();  // guards parts: every row lane's sums are written
  if (lane > WITH_BIAS || column >= a.C) return;
  float sum = 0.f;
#pragma unroll
  for (int r = 0; r < ROW_LANES; ++r) sum += parts[lane][r][place];
  a.partials[((i64)lane * gridDim.y + blockIdx.y) * a.C + column] = sum;
}
