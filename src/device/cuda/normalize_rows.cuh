// What normalize_rows.cu and normalize_rows_backward.cu share: their arguments, the row of a thread, lengths.
#pragma once
#include "rows.cuh"

#ifndef CHUNKS
#define CHUNKS 1
#endif

struct NormalizeRowsArgs {
  View x, out, dout, dx;  // out in the forward; dout and dx in the backward
  int B, T, H, D;
  float epsilon;
};

/** Threads that own a row; neighbours in a warp. */
constexpr int ROW_THREADS = 8;
constexpr int THREADS = 256;

/** Sum over the threads of a row, the same bits in each. */
DEVICE float row_sum(float x) { return quad_sum(x + __shfl_xor_sync(0xffffffffu, x, 4)); }

/** The row (b, t, h) of a thread, rows counted in memory order. */
struct RowPlace {
  bool inside;
  int b, t, h, thread;

  DEVICE RowPlace(const NormalizeRowsArgs& a) {
    // Fewer than 2^32 rows.
    const u32 at = blockIdx.x * (THREADS / ROW_THREADS) + threadIdx.x / ROW_THREADS;
    const u32 position = at / a.H;
    thread = threadIdx.x % ROW_THREADS;
    h = at - position * a.H;
    b = position / a.T;
    t = position - b * a.T;
    inside = b < a.B;
  }

  DEVICE u16* of(const View& x) const { return view_head<u16>(x, b, h) + t * x.row; }
};

/** max(length, epsilon), and NaN where the length is. */
DEVICE float divisor_of(float length, float epsilon) { return length <= epsilon ? epsilon : length; }

DEVICE uint4 load_chunk(const u16* row, int d, int D) {
  return d < D ? *(const uint4*)(row + d) : make_uint4(0, 0, 0, 0);
}
