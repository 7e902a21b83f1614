// Warp-level tensor core products of sm_80 and later: m16n8k16 with f32 accumulation, and the tile loads they need.
// Tiles in shared memory have rows of TILE_STRIDE elements: 8 more than the padded head dimension, an odd number of
// 16-byte chunks, so that ldmatrix meets no bank conflict for any head dimension.
#pragma once
#include "common.cuh"

/** acc [16 x 8] += a [16 x 16] b [16 x 8]. */
DEVICE void mma(float* acc, const u32* a, u32 b0, u32 b1) {
#if ELEMENT_F16
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#else
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#endif
               : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

DEVICE void load_matrix(u32* r, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

DEVICE void load_matrix_transposed(u32* r, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

/** acc [16 x 8*COLUMNS] += rows [16 of `left`] times rows [8*COLUMNS of `right`] transposed, over DEPTH features. */
template <int COLUMNS, int DEPTH, int STRIDE> DEVICE void product_rows(float (*acc)[4], u32 left, u32 right, int lane) {
  static_assert(COLUMNS % 2 == 0, "two column blocks at a time");
#pragma unroll
  for (int k = 0; k < DEPTH; k += 16) {
    u32 a[4];
    load_matrix(a, left + ((lane & 15) * STRIDE + k + (lane >> 4) * 8) * 2);
#pragma unroll
    for (int j = 0; j < COLUMNS; j += 2) {
      u32 b[4];
      load_matrix(b, right + ((j * 8 + (lane & 7) + (lane >> 4) * 8) * STRIDE + k + ((lane >> 3) & 1) * 8) * 2);
      mma(acc[j], a, b[0], b[1]);
      mma(acc[j + 1], a, b[2], b[3]);
    }
  }
}

/**
 * acc [16 x 8*COLUMNS] += weights [16 x 8*DEPTH_BLOCKS, as accumulators] times rows of `right` [8*DEPTH_BLOCKS x ...].
 * The weights are rounded to the element type.
 */
template <int COLUMNS, int DEPTH_BLOCKS, int STRIDE>
DEVICE void product_weights(float (*acc)[4], const float (*weights)[4], u32 right, int lane) {
#pragma unroll
  for (int k = 0; k < DEPTH_BLOCKS; k += 2) {
    u32 a[4] = {pack(weights[k][0], weights[k][1]), pack(weights[k][2], weights[k][3]),
                pack(weights[k + 1][0], weights[k + 1][1]), pack(weights[k + 1][2], weights[k + 1][3])};
#pragma unroll
    for (int j = 0; j < COLUMNS; j += 2) {
      u32 b[4];
      load_matrix_transposed(b, right + ((k * 8 + (lane & 15)) * STRIDE + j * 8 + (lane >> 4) * 8) * 2);
      mma(acc[j], a, b[0], b[1]);
      mma(acc[j + 1], a, b[2], b[3]);
    }
  }
}

/**
 * Starts copying ROWS rows at places `first`.. of a head to a tile, zeros beyond `end` and beyond D features.
 * `base` is the head's first row; THREADS threads take part.
 */
template <int ROWS, int DEPTH, int STRIDE, int THREADS>
DEVICE void load_tile(u32 tile, const u16* base, i64 rowStride, const int* rows, int first, int end, int D, int thread) {
  constexpr int CHUNKS = DEPTH / 8;
#pragma unroll
  for (int i = thread; i < ROWS * CHUNKS; i += THREADS) {
    int r = i / CHUNKS, c = i % CHUNKS;
    bool valid = first + r < end && c * 8 < D;
    int row = valid ? row_at(rows, first + r) : 0;
    copy16_async(tile + (r * STRIDE + c * 8) * 2, base + (valid ? row * rowStride + c * 8 : 0), valid);
  }
}
