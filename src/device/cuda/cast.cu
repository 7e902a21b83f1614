// cast: out = x in another float type, rounded to nearest even.
// Inputs:  x [size] of type FROM, out [size] of type TO, contiguous.
// Grid:    x = ceil(size / (THREADS * 16)); a thread owns GROUPS times GROUP neighbours, so that the lanes of a warp
//          read and write without gaps. Where the pointers are not aligned, or the share is not whole, one element at a
//          time.
// Set by the launcher: FROM, TO (types of elements.cuh, different).
#include "elements.cuh"

constexpr int THREADS = 256, ELEMENTS = 16;
constexpr int GROUP = FROM == F32 || TO == F32 ? 4 : 8, GROUPS = ELEMENTS / GROUP;

struct CastArgs {
  const void* x;
  void* out;
  i64 size;
  int aligned;
};

extern "C" __global__ void __launch_bounds__(THREADS) cast(const __grid_constant__ CastArgs a) {
  const Share share = share_of_block(a.size, THREADS * ELEMENTS, a.aligned);
  if (share.whole) {
    float x[GROUPS][GROUP];
    const i64 at = share.first + threadIdx.x * GROUP;
#pragma unroll
    for (int g = 0; g < GROUPS; ++g) load<FROM>(a.x, at + g * THREADS * GROUP, x[g]);
#pragma unroll
    for (int g = 0; g < GROUPS; ++g) store<TO>(a.out, at + g * THREADS * GROUP, x[g]);
    return;
  }
  for (i64 i = share.first + threadIdx.x; i < share.end; i += THREADS) {
    float x[1];
    load<FROM>(a.x, i, x);
    store<TO>(a.out, i, x);
  }
}
