// Angular hashing: bucket = argmax of [x R; -x R], the lowest index on a tie.
//
// Input:  x [B,T,H,D] strided, bfloat16 or half; rotations f32 [H,D,BUCKETS/2]. Output: out i32 [B,T,H], contiguous.
// Grid:   x = ceil(T / (16 * TILES * WARPS * ROUNDS)), y = H, z = B; blocks of 32 * WARPS threads;
//         a warp owns 16 * TILES rows at a time.
// Shared: PARTS * HALF' * (HEAD_DIM + 4) * 2 bytes, HALF' = BUCKETS/2 padded to 8; PARTS 2 for half, 3 for bfloat16.
// Set by the launcher: HEAD_DIM (D padded to 16), BUCKETS (even, 2..256), ELEMENT_F16.
// Numerics: on the tensor cores, yet as good as f32. x is exact in its type, and R is the sum of two parts in that type
//          (three for bfloat16), each product exact, summed in f32.
// Follows Reformer (arXiv 2001.04451).
#include "common.cuh"
#include "mma.cuh"

constexpr int WARPS = 8, ROUNDS = 8, TILES = HEAD_DIM > 64 ? 1 : 2;  // many rounds share one splitting of the rotations
constexpr int HALF = BUCKETS / 2, COLUMNS = (HALF + 7) / 8 * 8;
constexpr int PARTS = ELEMENT_F16 ? 2 : 3;
constexpr int STRIDE = HEAD_DIM + 4;  // 8-byte loads of 4 columns by 4 lanes meet no bank twice
constexpr int DEPTH_STEPS = HEAD_DIM / 16;
constexpr int OWN = HEAD_DIM / 4;  // consecutive features of a row that a lane holds: the order of a sum is free
/** Half has few exponents: its second part is held larger by this factor. */
constexpr float PART_SCALE = ELEMENT_F16 ? 2048.f : 1.f;

struct LshArgs {
  View x;
  const float* rotations;
  int* out;
  int B, T, H, D;
};

DEVICE u16 narrow(float x) { return (u16)pack(x, 0.f); }

/** Splits the head's rotations into parts, transposed: [PARTS][COLUMNS][STRIDE]. */
DEVICE void load_rotations(const LshArgs& a, int h, u16* parts) {
  for (int i = threadIdx.x; i < COLUMNS * HEAD_DIM; i += WARPS * 32) {
    const int d = i / COLUMNS, n = i % COLUMNS;
    float rest = n < HALF && d < a.D ? a.rotations[((i64)h * a.D + d) * HALF + n] : 0.f;
#pragma unroll
    for (int p = 0; p < PARTS; ++p) {
      const u16 part = narrow(rest);
      parts[(p * COLUMNS + n) * STRIDE + d] = part;
      rest = (rest - unpack(part).x) * PART_SCALE;
    }
  }
}

/** The better of two candidates: the larger value, then the lower index. */
DEVICE void better(float& value, int& index, float otherValue, int otherIndex) {
  if (otherValue > value || (otherValue == value && otherIndex < index)) {
    value = otherValue;
    index = otherIndex;
  }
}

extern "C" __global__ void __launch_bounds__(WARPS * 32) lsh_buckets(const __grid_constant__ LshArgs a) {
  extern __shared__ __align__(128) u16 parts[];
  const int h = blockIdx.y, b = blockIdx.z, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  load_rotations(a, h, parts);
  __syncthreads();  // guards the rotations: all parts are written

  const u16* x = view_head<u16>(a.x, b, h);
  for (int round = 0; round < ROUNDS; ++round) {
    const int first = ((blockIdx.x * ROUNDS + round) * WARPS + warp) * 16 * TILES;
    if (first >= a.T) return;
    // Load: a lane's features of each row.
    u32 left[TILES][DEPTH_STEPS][4];
#pragma unroll
    for (int t = 0; t < TILES; ++t)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int row = first + t * 16 + (lane >> 2) + r * 8;
#pragma unroll
        for (int k = 0; k < DEPTH_STEPS; ++k) {
          const int d = (lane & 3) * OWN + k * 4;
          uint2 pairs = make_uint2(0, 0);
          if (row < a.T && d < a.D) pairs = *(const uint2*)(x + row * a.x.row + d);
          left[t][k][r] = pairs.x;
          left[t][k][r + 2] = pairs.y;
        }
      }
    float best[TILES][2];
    int bucket[TILES][2] = {};
#pragma unroll
    for (int t = 0; t < TILES; ++t) best[t][0] = best[t][1] = -INFINITE;
    for (int n = 0; n < COLUMNS; n += 8) {
      // Products with 8 rotations.
      float sums[TILES][PARTS][4] = {};
#pragma unroll
      for (int p = 0; p < PARTS; ++p)
#pragma unroll
        for (int k = 0; k < DEPTH_STEPS; ++k) {
          const u16* column = parts + (p * COLUMNS + n + (lane >> 2)) * STRIDE;
          const uint2 right = *(const uint2*)(column + (lane & 3) * OWN + k * 4);
#pragma unroll
          for (int t = 0; t < TILES; ++t) mma(sums[t][p], left[t][k], right.x, right.y);
        }
      // Argmax.
#pragma unroll
      for (int t = 0; t < TILES; ++t)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float value = sums[t][PARTS - 1][i];
#pragma unroll
          for (int p = PARTS - 2; p >= 0; --p) value = fmaf(value, 1.f / PART_SCALE, sums[t][p][i]);
          const int column = n + (lane & 3) * 2 + (i & 1);
          if (column < HALF)
            better(best[t][i >> 1], bucket[t][i >> 1], fabsf(value), value < 0.f ? column + HALF : column);
        }
    }
    // Store.
#pragma unroll
    for (int t = 0; t < TILES; ++t)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
#pragma unroll
        for (int step = 1; step < 4; step *= 2)
          better(best[t][r], bucket[t][r], __shfl_xor_sync(0xffffffffu, best[t][r], step),
                 __shfl_xor_sync(0xffffffffu, bucket[t][r], step));
        const int row = first + t * 16 + (lane >> 2) + r * 8;
        if ((lane & 3) == 0 && row < a.T) a.out[((i64)b * a.T + row) * a.H + h] = bucket[t][r];
      }
  }
}
