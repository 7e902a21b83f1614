// Angular hashing: bucket = argmax of [x R; -x R], the lowest index on a tie.
//
// Input:  x [B,T,H,D] strided, bfloat16 or half; rotations f32 [H,D,BUCKETS/2]. Output: out i32 [B,T,H], contiguous.
// Grid:   x = ceil(T / (TILE * WARPS * ROUNDS)) * H, y = B; blocks of 32 * WARPS threads; a warp owns TILE rows at a time.
//         Heads run first: the buckets of a row's heads are neighbours, and meet in a cache line.
// Shared: PART_BYTES.
// Set by the launcher: HEAD_DIM, BUCKETS, ELEMENT_F16, as lsh_projection.cuh says, and its numerics.
// Follows Reformer (arXiv 2001.04451).
#include "lsh_projection.cuh"

constexpr int ROUNDS = 8;                // many share one splitting of the rotations
constexpr bool AHEAD = HEAD_DIM <= 128;  // whether registers hold the next rows while these are projected

struct LshArgs {
  View x;
  const float* rotations;
  int* out;
  int T, H, D;
};

/** The better of two lanes' candidates: the larger score, then the lower bucket. */
DEVICE void better(float& size, int& bucket, int step) {
  const float otherSize = __shfl_xor_sync(0xffffffffu, size, step);
  const int other = __shfl_xor_sync(0xffffffffu, bucket, step);
  if (otherSize > size || (otherSize == size && other < bucket)) {
    size = otherSize;
    bucket = other;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) lsh_buckets(const __grid_constant__ LshArgs a) {
  extern __shared__ __align__(128) uint4 parts[];
  const int h = blockIdx.x % a.H, b = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const u16* x = view_head<u16>(a.x, b, h);
  constexpr int STEP = WARPS * TILE;
  int first = blockIdx.x / a.H * ROUNDS * STEP + warp * TILE;
  Rows rows, next;
  if (AHEAD) next.load(x, a.x.row, first, a.T, a.D);
  split_rotations(a.rotations + (i64)h * a.D * HALF, a.D, parts);
  __syncthreads();  // guards the rotations: all parts are written

#pragma unroll 1
  for (int round = 0; round < ROUNDS && first < a.T; ++round, first += STEP) {
    // Load.
    if (AHEAD) {
      rows = next;
      next.load(x, a.x.row, first + STEP, round + 1 < ROUNDS ? a.T : 0, a.D);
    } else {
      rows.load(x, a.x.row, first, a.T, a.D);
    }
    // Products and argmax.
    Farthest farthest[2];
    farthest[0] = farthest[1] = {0.f, (lane & 3) * 2};
#pragma unroll 1
    for (int n = 0; n < COLUMNS / 8; ++n) {
      float sums[4];
      rows.project(parts, n, sums);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = n * 8 + (lane & 3) * 2 + (i & 1);
        if (column < HALF) farthest[i >> 1].take(sums[i], column);
      }
    }
    // Store.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float size = fabsf(farthest[r].score);
      int bucket = farthest[r].bucket();
      better(size, bucket, 1);
      better(size, bucket, 2);
      const int row = first + (lane >> 2) + r * 8;
      if ((lane & 3) == 0 && row < a.T) a.out[((i64)b * a.T + row) * a.H + h] = bucket;
    }
  }
}
