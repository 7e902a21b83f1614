// A matrix product of any size, alignment and orientation, with every epilogue: for what the library turns down.
//
// Inputs:  a [M, K], b [K, N], 16-bit, by row and column strides in elements, one of which is 1; bias [N], slopeOf
//          [M, N], 16-bit; residual [M, N] of out's type; all but a and b may be null.
// Outputs: out [M, N], f32 or 16-bit; preGelu [M, N], 16-bit, may be null. In this order: v = a b + bias; preGelu = v
//          and v = gelu(v); v *= gelu'(slopeOf); v += residual (may be out); out = v.
// Grid:    [M / 64, N / 64] blocks of 256 threads; a thread owns 4 x 4 elements of out.
// Set by the launcher: ELEMENT_F16, OUT_F32 (1: out and residual are f32).
// Numerics: f32, summed in the order of K; equal bits run to run. Simple tiles in shared memory: a fallback, not fast.
#include "gelu.cuh"

#ifndef OUT_F32
#define OUT_F32 0
#endif

constexpr int TILE = 64, DEPTH = 16, THREADS = 256, OWN = 4;
constexpr int PITCH = TILE + 4;  // rows stay aligned to 16 bytes and start in different banks

struct LinearAnyArgs {
  const u16* a;
  i64 aRow, aColumn;
  const u16* b;
  i64 bRow, bColumn;
  const u16* bias;
  u16* preGelu;
  const u16* slopeOf;
  const void* residual;
  void* out;
  int M, N, K;
};

/**
 * to[k][i] = from at (i, k), zero outside. Neighbouring threads read neighbouring memory, whichever way it lies.
 * @param place, depth the strides of i and k; places, depths how many there are from here
 */
DEVICE void load_tile(float (*to)[PITCH], const u16* from, i64 place, i64 depth, int places, int depths) {
  bool alongDepth = depth == 1;
#pragma unroll
  for (int n = 0; n < TILE * DEPTH / THREADS; ++n) {
    int index = n * THREADS + threadIdx.x;
    int i = alongDepth ? index / DEPTH : index % TILE;
    int k = alongDepth ? index % DEPTH : index / TILE;
    to[k][i] = i < places && k < depths ? element_to_float(from[i * place + k * depth]) : 0.0f;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS) linear_any(const __grid_constant__ LinearAnyArgs a) {
  __shared__ __align__(16) float rows[DEPTH][PITCH];
  __shared__ __align__(16) float columns[DEPTH][PITCH];
  int row0 = blockIdx.x * TILE, column0 = blockIdx.y * TILE;
  int ownRow = threadIdx.x / (TILE / OWN) * OWN, ownColumn = threadIdx.x % (TILE / OWN) * OWN;
  float sum[OWN][OWN] = {};

  for (int k0 = 0; k0 < a.K; k0 += DEPTH) {
    load_tile(rows, a.a + row0 * a.aRow + k0 * a.aColumn, a.aRow, a.aColumn, a.M - row0, a.K - k0);
    load_tile(columns, a.b + column0 * a.bColumn + k0 * a.bRow, a.bColumn, a.bRow, a.N - column0, a.K - k0);
    __syncthreads();  // the tiles are whole
#pragma unroll
    for (int k = 0; k < DEPTH; ++k) {
      float4 x = *(const float4*)&rows[k][ownRow], y = *(const float4*)&columns[k][ownColumn];
      const float left[OWN] = {x.x, x.y, x.z, x.w}, right[OWN] = {y.x, y.y, y.z, y.w};
#pragma unroll
      for (int i = 0; i < OWN; ++i)
#pragma unroll
        for (int j = 0; j < OWN; ++j) sum[i][j] = fmaf(left[i], right[j], sum[i][j]);
    }
    __syncthreads();  // nobody reads the tiles any more
  }

#pragma unroll
  for (int i = 0; i < OWN; ++i) {
#pragma unroll
    for (int j = 0; j < OWN; ++j) {
      int row = row0 + ownRow + i, column = column0 + ownColumn + j;
      if (row >= a.M || column >= a.N) continue;
      i64 at = (i64)row * a.N + column;
      float value = sum[i][j];
      if (a.bias) value += element_to_float(a.bias[column]);
      if (a.preGelu) {
        a.preGelu[at] = float_to_element(value);
        value = gelu(value);
      }
      if (a.slopeOf) value *= gelu_slope(element_to_float(a.slopeOf[at]));
#if OUT_F32
      if (a.residual) value += ((const float*)a.residual)[at];
      ((float*)a.out)[at] = value;
#else
      if (a.residual) value += element_to_float(((const u16*)a.residual)[at]);
      ((u16*)a.out)[at] = float_to_element(value);
#endif
    }
  }
}
