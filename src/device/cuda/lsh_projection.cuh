// Rows times a head's rotations on the tensor cores, yet as good as f32: x is exact in its type, and R is the sum of two
// parts in that type (three for bfloat16), each product exact, summed in f32, the smallest part first.
//
// Set by the launcher: HEAD_DIM (D padded to 32), BUCKETS (even, 2..256), ELEMENT_F16.
// Shared:  PART_BYTES for the parts. A row begins at 16 bytes, and D is a multiple of 8.
#pragma once
#include "common.cuh"
#include "mma.cuh"

constexpr int WARPS = 8, THREADS = 32 * WARPS;
constexpr int HALF = BUCKETS / 2, COLUMNS = (HALF + 7) / 8 * 8;  // rotations, and those with which products are made
constexpr int PARTS = ELEMENT_F16 ? 2 : 3;
constexpr int CHUNKS = HEAD_DIM / 32;  // of 8 features that each lane of a quad holds: the order of a sum is free
constexpr int PART_BYTES = COLUMNS * PARTS * HEAD_DIM * 2;
constexpr int TILE = 16;  // rows that a warp projects at a time
/** Blocks that an SM should have room for: the more wait for memory at once, the better. */
constexpr int RESIDENT = HEAD_DIM > 128 ? 1 : HEAD_DIM > 64 ? 2 : 4;
/** Half has few exponents: R, and with it every projection, is held larger by this factor. */
constexpr float SCALE = ELEMENT_F16 ? 256.f : 1.f;

/** Where a lane finds 8 features of a rotation 8 * n + lane / 4, in one part: the order in which lanes read them. */
DEVICE uint4& part_at(uint4* parts, int n, int part, int chunk, int lane) {
  return parts[((n * PARTS + part) * CHUNKS + chunk) * 32 + lane];
}

/** Splits a head's rotations [D, HALF]; zeros beyond. By the whole block, which must synchronise before it reads them. */
DEVICE void split_rotations(const float* rotations, int D, uint4* parts) {
  for (int i = threadIdx.x; i < COLUMNS * CHUNKS * 4; i += THREADS) {
    const int column = i % COLUMNS, first = i / COLUMNS * 8;  // features
    float rest[8];
#pragma unroll
    for (int d = 0; d < 8; ++d)
      rest[d] = column < HALF && first + d < D ? rotations[(first + d) * HALF + column] * SCALE : 0.f;
#pragma unroll
    for (int p = 0; p < PARTS; ++p) {
      u32 pairs[4];
#pragma unroll
      for (int d = 0; d < 8; d += 2) {
        pairs[d / 2] = pack(rest[d], rest[d + 1]);
        const float2 held = unpack(pairs[d / 2]);
        rest[d] -= held.x;
        rest[d + 1] -= held.y;
      }
      part_at(parts, column / 8, p, first / 32, column % 8 * 4 + first / 8 % 4) =
          make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    }
  }
}

/** TILE rows in a warp, as left operands of products. */
struct Rows {
  u32 left[2 * CHUNKS][4];

  /** Rows first .. first + TILE - 1 of a head; zeros from `end` on. */
  DEVICE void load(const u16* x, i64 stride, int first, int end, int D) {
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = first + (lane >> 2) + r * 8;
#pragma unroll
      for (int c = 0; c < CHUNKS; ++c) {
        const int d = (c * 4 + (lane & 3)) * 8;
        uint4 features = make_uint4(0, 0, 0, 0);
        if (row < end && d < D) features = *(const uint4*)(x + row * stride + d);
        left[2 * c][r] = features.x;
        left[2 * c][r + 2] = features.y;
        left[2 * c + 1][r] = features.z;
        left[2 * c + 1][r + 2] = features.w;
      }
    }
  }

  /** SCALE times the projections on 8 rotations: sums[i] of row lane / 4 + i / 2 * 8, rotation 8 * n + lane % 4 * 2 + i % 2. */
  DEVICE void project(uint4* parts, int n, float (&sums)[4]) const {
    sums[0] = sums[1] = sums[2] = sums[3] = 0.f;
#pragma unroll
    for (int p = PARTS - 1; p >= 0; --p)
#pragma unroll
      for (int c = 0; c < CHUNKS; ++c) {
        const uint4 right = part_at(parts, n, p, c, threadIdx.x & 31);
        mma(sums, left[2 * c], right.x, right.y);
        mma(sums, left[2 * c + 1], right.z, right.w);
      }
  }
};

/** The largest of scores and of their opposites. */
struct Farthest {
  float score;  // with its sign
  int column;

  /** Columns in rising order. Of equals the lowest bucket wins: any positive score, then the first. */
  DEVICE void take(float other, int otherColumn) {
    if (fabsf(other) > fabsf(score) || (other == -score && other > 0.f)) {
      score = other;
      column = otherColumn;
    }
  }
  DEVICE int bucket() const { return score < 0.f ? column + HALF : column; }
};
