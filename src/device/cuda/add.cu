// add: out = x + y in f32, rounded to nearest even. `out` may be x or y.
// Inputs:  x, y, out [size] of type ELEMENT, contiguous.
// Grid:    x = ceil(size / (THREADS * ELEMENTS)); a thread owns GROUPS times GROUP neighbours (16 bytes), so that the
//          lanes of a warp read and write without gaps. Where the pointers are not aligned, or the share is not whole,
//          one element at a time.
// Set by the launcher: ELEMENT (a type of elements.cuh).
#include "elements.cuh"

constexpr int THREADS = 256, GROUPS = 2;
constexpr int GROUP = ELEMENT == F32 ? 4 : 8, ELEMENTS = GROUPS * GROUP;

struct AddArgs {
  const void *x, *y;
  void* out;
  i64 size;
  int aligned;
};

template <int WIDTH> DEVICE void accumulate(float (&x)[WIDTH], const float (&y)[WIDTH]) {
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) x[i] += y[i];
}

extern "C" __global__ void __launch_bounds__(THREADS) add(const __grid_constant__ AddArgs a) {
  const Share share = share_of_block(a.size, THREADS * ELEMENTS, a.aligned);
  if (share.whole) {
    float x[GROUPS][GROUP], y[GROUPS][GROUP];
    const i64 at = share.first + threadIdx.x * GROUP;
#pragma unroll
    for (int g = 0; g < GROUPS; ++g) {
      load<ELEMENT>(a.x, at + g * THREADS * GROUP, x[g]);
      load<ELEMENT>(a.y, at + g * THREADS * GROUP, y[g]);
    }
#pragma unroll
    for (int g = 0; g < GROUPS; ++g) {
      accumulate(x[g], y[g]);
      store<ELEMENT>(a.out, at + g * THREADS * GROUP, x[g]);
    }
    return;
  }
  for (i64 i = share.first + threadIdx.x; i < share.end; i += THREADS) {
    float x[1], y[1];
    load<ELEMENT>(a.x, i, x);
    load<ELEMENT>(a.y, i, y);
    accumulate(x, y);
    store<ELEMENT>(a.out, i, x);
  }
}
