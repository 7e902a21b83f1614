// What follows a matrix product where the library that computed it does not do it: bias, gelu, its slope, residual.
//
// Inputs:  sum [M, N], f32 or 16-bit; bias [N], slopeOf [M, N], residual [M, N], 16-bit, each may be null.
// Outputs: preGelu [M, N], out [M, N], 16-bit; preGelu may be null. In this order: v = sum + bias; preGelu = v and
//          v = gelu(v); v *= gelu'(slopeOf); v += residual; out = v. `sum` may be `preGelu` or `out`, `residual` `out`:
//          a thread reads all of its elements before it writes them.
// Grid:    a thread owns WIDTH consecutive elements of one row; blocks of 256 threads.
// Set by the launcher: ELEMENT_F16, SUM_F32 (1: sum is f32), WIDTH (8 where N is a multiple of 8 and all memory is
//          aligned to 16 bytes, else 1).
// Numerics: f32 throughout, rounded once to nearest even; gelu of the sum before it is rounded.
#include "gelu.cuh"

#ifndef SUM_F32
#define SUM_F32 0
#endif
#ifndef WIDTH
#define WIDTH 8
#endif

constexpr int THREADS = 256;

struct ProductEpilogueArgs {
  const void* sum;
  const u16* bias;
  u16* preGelu;
  const u16* slopeOf;
  const u16* residual;
  u16* out;
  i64 size;
  int columns;
};

DEVICE void load(float (&to)[WIDTH], const u16* from) {
#if WIDTH == 8
  uint4 packed = *(const uint4*)from;
  const u32* pairs = &packed.x;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float2 pair = unpack(pairs[i]);
    to[2 * i] = pair.x;
    to[2 * i + 1] = pair.y;
  }
#else
  to[0] = element_to_float(*from);
#endif
}

DEVICE void load(float (&to)[WIDTH], const float* from) {
#if WIDTH == 8
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float4 four = ((const float4*)from)[i];
    to[4 * i] = four.x;
    to[4 * i + 1] = four.y;
    to[4 * i + 2] = four.z;
    to[4 * i + 3] = four.w;
  }
#else
  to[0] = *from;
#endif
}

DEVICE void store(u16* to, const float (&from)[WIDTH]) {
#if WIDTH == 8
  *(uint4*)to = make_uint4(pack(from[0], from[1]), pack(from[2], from[3]), pack(from[4], from[5]), pack(from[6], from[7]));
#else
  *to = float_to_element(from[0]);
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS) product_epilogue(const __grid_constant__ ProductEpilogueArgs a) {
  i64 at = ((i64)blockIdx.x * THREADS + threadIdx.x) * WIDTH;
  if (at >= a.size) return;
  float value[WIDTH], slope[WIDTH], residual[WIDTH];

  // All loads first, so that they are in flight together.
#if SUM_F32
  load(value, (const float*)a.sum + at);
#else
  load(value, (const u16*)a.sum + at);
#endif
  if (a.slopeOf) load(slope, a.slopeOf + at);
  if (a.residual) load(residual, a.residual + at);

  if (a.bias) {
    float bias[WIDTH];
    load(bias, a.bias + at % a.columns);
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) value[i] += bias[i];
  }
  if (a.preGelu) {
    // The launcher passes the same memory where the sum is preGelu already.
    if (a.preGelu != a.sum) store(a.preGelu + at, value);
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) value[i] = gelu(value[i]);
  }
  if (a.slopeOf) {
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) value[i] *= gelu_slope(slope[i]);
  }
  if (a.residual) {
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) value[i] += residual[i];
  }
  store(a.out + at, value);
}
