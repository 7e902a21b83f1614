// gradNorm: norm[0] = sqrt(sum of squares), in two kernels: squares of fixed shares, then their sum and its root.
// Inputs:  grad f32 [size]; partials f64 [shares]. Output: norm f32 [1].
// Grid:    square_sums: x = shares, blocks of THREADS; block s owns the chunks s, s + shares, ... of THREADS *
//          ELEMENTS.
//          root_of_sums: one block of THREADS.
// Scratch: 8 * shares bytes.
// Numerics: f64 throughout, for squares leave the range of f32; the order is set by the size alone, so that bits are
//          equal run to run.
#include "elements.cuh"

constexpr int THREADS = 256, GROUP = 4, GROUPS = 4, ELEMENTS = GROUP * GROUPS;

struct GradNormArgs {
  const float* grad;
  double* partials;
  float* norm;
  i64 size;
  int shares, aligned;
};

/** Sum over the block, in a fixed order; right in thread 0. */
DEVICE double block_sum(double x) {
  __shared__ double warps[THREADS / 32];
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_down_sync(0xffffffffu, x, lanes);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();  // every warp's sum is there
  double sum = 0;
  if (threadIdx.x == 0)
    for (int w = 0; w < THREADS / 32; ++w) sum += warps[w];
  return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) square_sums(const __grid_constant__ GradNormArgs a) {
  constexpr int CHUNK = THREADS * ELEMENTS;
  double sums[GROUP] = {};
  for (i64 first = (i64)blockIdx.x * CHUNK; first < a.size; first += (i64)a.shares * CHUNK) {
    if (a.aligned && first + CHUNK <= a.size) {
      float g[GROUPS][GROUP];
#pragma unroll
      for (int n = 0; n < GROUPS; ++n) load<F32>(a.grad, first + (n * THREADS + threadIdx.x) * GROUP, g[n]);
#pragma unroll
      for (int n = 0; n < GROUPS; ++n)
#pragma unroll
        for (int i = 0; i < GROUP; ++i) sums[i] += (double)g[n][i] * g[n][i];
    } else {
      const i64 end = first + CHUNK < a.size ? first + CHUNK : a.size;
      for (i64 i = first + threadIdx.x; i < end; i += THREADS) {
        const double g = a.grad[i];
        sums[0] += g * g;
      }
    }
  }
  const double sum = block_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  if (threadIdx.x == 0) a.partials[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) root_of_sums(const __grid_constant__ GradNormArgs a) {
  double sum = 0;
  for (int s = threadIdx.x; s < a.shares; s += THREADS) sum += a.partials[s];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *a.norm = (float)sqrt(sum);
}
