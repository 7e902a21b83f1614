// What a consumer of attention_backward_sm90 does with one tile of 64 queries and its 64 keys, whatever the order of
// its products: the products, the softmax, the sharing of score gradients, the stores. See attention_backward_sm90.cu.
#pragma once
#include "attention_backward_load.cuh"
#include "common.cuh"
#include "hopper.cuh"
#include "online_softmax.cuh"
#include "ring.cuh"
#include "tile_range.cuh"

/** acc [64 x 64] = own 64 rows (panels KEY_PANEL_BYTES apart) times the rows of a query tile, over the features. */
DEVICE void row_product(float* acc, u32 own, u32 tile) {
  const u64 left = row_operand(own), right = row_operand(tile);
#pragma unroll
  for (int i = 0; i < HEAD_DIM / 16; ++i)
    Product<64, 0, 0>::run(acc, left + i / 4 * (KEY_PANEL_BYTES >> 4) + i % 4 * ROW_STEP,
                           right + i / 4 * (QUERY_PANEL_BYTES >> 4) + i % 4 * ROW_STEP, i > 0);
}

/** A query tile as the right operand of a sum over its queries. */
DEVICE u64 query_operand(u32 tile) { return column_operand(tile, PANELS > 1 ? QUERY_PANEL_BYTES : 0); }

/** acc [64 keys x HEAD_DIM] += weights [64 keys x 64 queries] times a query tile. */
DEVICE void weight_product(float* acc, const u32* weights, u32 tile) {
  const u64 right = query_operand(tile);
#pragma unroll
  for (int i = 0; i < STEPS; ++i) Product<HEAD_DIM, 0, 1>::run(acc, weights + 4 * i, right + i * COLUMN_STEP, 1);
}

/** Writes packed score gradients [64 keys x 64 queries] to the shared tile, rows by key. */
DEVICE void share_gradients(u32 tile, int row, const u32* ds, int lane) {
  const int at = row + (lane & 15);
#pragma unroll
  for (int i = 0; i < STEPS; ++i) store_matrices(tile + swizzle(at, 2 * i + (lane >> 4)), ds + 4 * i);
}

/**
 * Writes accumulators [64 x HEAD_DIM] to the rows of 64 key places, through 64 own rows of shared memory a panel;
 * a warp uses its own 16 rows alone.
 */
DEVICE void store_keys(const View& out, const Turn& item, int hk, const int* rows, int first, int end, const float* acc,
                       float scale, int accumulate, u32 tile, int panelBytes) {
  const int lane = threadIdx.x & 31, warpRow = (threadIdx.x >> 5 & 3) * 16;
#pragma unroll
  for (int r = 0; r < 2; ++r)
#pragma unroll
    for (int j = 0; j < HEAD_DIM / 8; ++j)
      shared_store(tile + j / 8 * panelBytes + swizzle(warpRow + (lane >> 2) + 8 * r, j & 7) + (lane & 3) * 4,
                   pack(acc[4 * j + 2 * r] * scale, acc[4 * j + 2 * r + 1] * scale));
  __syncwarp();  // guards the warp's 16 rows: all are written
  u16* base = view_head<u16>(out, item.b, hk);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int at = warpRow + i * 4 + (lane >> 3), chunk = lane & 7;
    if (first + at >= end) continue;
    u16* row = base + row_at(rows, first + at) * out.row + chunk * 8;
#pragma unroll
    for (int p = 0; p < PANELS; ++p) {
      uint4* to = (uint4*)(row + p * 64);
      uint4 x = shared_load4(tile + p * panelBytes + swizzle(at, chunk));
      *to = accumulate ? add8(x, *to) : x;
    }
  }
  __syncwarp();  // guards the warp's 16 rows: all are read
}

/** One query head of an item, for one consumer: what stays the same from tile to tile. */
struct Head {
  Span range, own;         // of the item's keys, of this warpgroup's
  int fullBegin, fullEnd;  // queries that all of this warpgroup's keys are seen by
  int rowLo[2], rowHi[2];
  u32 keys, ownKeys, ownValues;
  float* dqSum;
  float scaleLog2;

  /** Reads the bounds that the producer left; `turn` counts turns. */
  DEVICE Head(const AttentionArgs& a, const Shared& s, const Turn& item, int buffer, int turn, int index) {
    const int lane = threadIdx.x & 31, warpRow = (threadIdx.x >> 5 & 3) * 16, offset = index * 64;
    const u32 table = s.bounds + (turn & 1) * BOUNDS_BYTES;
    auto lo = [&](int place) { return shared_int(table + place * 4); };
    auto hi = [&](int place) { return shared_int(table + (BLOCK_N + place) * 4); };
    barrier_wait(s.bounds_full(turn & 1), turn >> 1 & 1);
    const int last = min(BLOCK_N, a.Tk - item.first) - 1;
    range = item.span;
    // A key that nobody sees has qHi = Tq; the range was cut before such keys.
    if (offset <= last) own = Span(uniform(lo(offset)), min(uniform(hi(min(offset + 63, last))), range.end));
    const bool whole = offset + 63 <= last;
    fullBegin = whole ? uniform(lo(offset + 63)) : 0x7fffffff;
    fullEnd = whole ? uniform(hi(offset)) : 0;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      rowLo[r] = lo(offset + warpRow + (lane >> 2) + 8 * r);
      rowHi[r] = hi(offset + warpRow + (lane >> 2) + 8 * r);
    }
    __syncwarp();  // guards the bounds: the whole warp has read them
    release(s.bounds_empty(turn & 1));
    keys = s.k + buffer * KEY_BYTES;
    ownKeys = keys + index * QUERY_PANEL_BYTES;
    ownValues = s.v + buffer * KEY_BYTES + index * QUERY_PANEL_BYTES;
    const int qTiles = (a.Tq + BLOCK_M - 1) / BLOCK_M;
    dqSum = a.dqSum + (i64)(item.b * a.H + item.h) * qTiles * (BLOCK_M * HEAD_DIM) + index * (BLOCK_M * HEAD_DIM / 2) +
            (threadIdx.x & 127) * 4;
    scaleLog2 = a.scale * LOG2_E;
  }
};
