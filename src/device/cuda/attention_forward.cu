// Attention forward over a staircase, for sm_80 and later (mma.sync, cp.async).
//
// o = softmax(scale * q k^T over the visible keys) v, and lse; a query that sees no key: o = 0, lse = -Infinity.
// Inputs:  q [B,Tq,H,D], k, v [B,Tk,Hk,D] strided, 16-byte aligned rows; staircase qRows, kRows, lo, hi.
// Outputs: o [B,Tq,H,D] strided; lse f32 [B,H,Tq] strided, natural log. With `merge` both already hold the attention
//          over other keys, and become that of the union.
// Grid:    x = ceil(Tq / BLOCK_M) * H * B, query tiles fastest and last tile first (the longest of a causal head).
//          A block of BLOCK_M / 16 warps owns BLOCK_M query places; a warp owns 16 of them, a thread two.
// Shared:  (BLOCK_M + 4 * BLOCK_N) * (HEAD_DIM + 8) * 2 bytes.
// Set by the launcher: HEAD_DIM (D padded to 16), BLOCK_M, BLOCK_N (multiples of 16), ELEMENT_F16, IDENTITY,
//          ANY_SCALE.
// Numerics: products in the element type with f32 accumulation, exp2, weights rounded to the element type. scale > 0, or,
//          with ANY_SCALE, any number: scores are scaled before they are masked and compared, not after.
// Follows FlashAttention-2 (arXiv 2307.08691).
#include "common.cuh"
#include "mma.cuh"
#include "online_softmax.cuh"
#include "tile_range.cuh"

#ifndef ANY_SCALE
#define ANY_SCALE 0
#endif

constexpr int STRIDE = HEAD_DIM + 8;
constexpr int THREADS = BLOCK_M * 2;
constexpr int KEY_BLOCKS = BLOCK_N / 8;
constexpr int DIM_BLOCKS = HEAD_DIM / 8;
constexpr int KEY_TILE_BYTES = BLOCK_N * STRIDE * 2;

struct ForwardTile {
  const u16 *q, *k, *v;
  const int *qRows, *kRows;
  u32 qTile, kTiles, vTiles;
};

DEVICE void load_keys(const AttentionArgs& a, const ForwardTile& t, int first, int stage) {
  load_tile<BLOCK_N, HEAD_DIM, STRIDE, THREADS>(t.kTiles + stage * KEY_TILE_BYTES, t.k, a.k.row, t.kRows, first, a.Tk,
                                                a.D, threadIdx.x);
  load_tile<BLOCK_N, HEAD_DIM, STRIDE, THREADS>(t.vTiles + stage * KEY_TILE_BYTES, t.v, a.v.row, t.kRows, first, a.Tk,
                                                a.D, threadIdx.x);
}

/** Writes a thread's part of one row of o, and its lse; merges with what stands there if asked. */
DEVICE void store_row(const AttentionArgs& a, const SoftmaxRows& s, float (*acc)[4], int r, int b, int h, int row,
                      int lane) {
  float* lseAt = view_head<float>(a.lse, b, h) + row * a.lse.row;
  u16* out = view_head<u16>(a.o, b, h) + row * a.o.row;
  float lse = s.lse(r), factor = s.inverse(r), weight = 1.f, weightBefore = 0.f;
  if (a.merge) lse = merge_parts(lse, *lseAt, &weight, &weightBefore);
  factor *= weight;
#pragma unroll
  for (int j = 0; j < DIM_BLOCKS; ++j) {
    int d = j * 8 + (lane & 3) * 2;
    if (d >= a.D) continue;
    float x = acc[j][2 * r] * factor, y = acc[j][2 * r + 1] * factor;
    if (a.merge) {
      float2 before = unpack(*(const u32*)(out + d));
      x += before.x * weightBefore;
      y += before.y * weightBefore;
    }
    *(u32*)(out + d) = pack(x, y);
  }
  __syncwarp(0xfu << (lane & ~3));  // guards lse: all four threads of the row have read the old value
  if ((lane & 3) == 0) *lseAt = lse;
}

extern "C" __global__ void __launch_bounds__(THREADS) attention_forward(const __grid_constant__ AttentionArgs a) {
  extern __shared__ __align__(128) u16 shared[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int qTiles = (a.Tq + BLOCK_M - 1) / BLOCK_M;
  const int first = (qTiles - 1 - (int)(blockIdx.x % qTiles)) * BLOCK_M;
  const int h = blockIdx.x / qTiles % a.H, b = blockIdx.x / qTiles / a.H, hk = (int)((i64)h * a.Hk / a.H);

  ForwardTile t;
  t.q = view_head<u16>(a.q, b, h);
  t.k = view_head<u16>(a.k, b, hk);
  t.v = view_head<u16>(a.v, b, hk);
  t.qRows = a.qRows.data ? index_row(a.qRows, b, h) : nullptr;
  t.kRows = a.kRows.data ? index_row(a.kRows, b, hk) : nullptr;
  t.qTile = shared_address(shared);
  t.kTiles = t.qTile + BLOCK_M * STRIDE * 2;
  t.vTiles = t.kTiles + 2 * KEY_TILE_BYTES;
  const int *lo = index_row(a.lo, b, h), *hi = index_row(a.hi, b, h);

  // Load: queries and the first key tile.
  const TileRange range = tile_range(lo, hi, first, BLOCK_M, a.Tq);
  const TileRange own = tile_range(lo, hi, first + warp * 16, 16, a.Tq);
  const int begin = range.begin / BLOCK_N * BLOCK_N;
  load_tile<BLOCK_M, HEAD_DIM, STRIDE, THREADS>(t.qTile, t.q, a.q.row, t.qRows, first, a.Tq, a.D, threadIdx.x);
  if (!range.empty()) load_keys(a, t, begin, 0);
  copy_commit();

  int place[2], rowLo[2], rowHi[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    place[r] = first + warp * 16 + (lane >> 2) + 8 * r;
    rowLo[r] = place[r] < a.Tq ? __ldg(lo + place[r]) : 0;
    rowHi[r] = place[r] < a.Tq ? __ldg(hi + place[r]) : 0;
  }
  SoftmaxRows softmax;
  softmax.reset();
  float acc[DIM_BLOCKS][4] = {};
  const float scaleLog2 = ANY_SCALE ? LOG2_E : a.scale * LOG2_E;

  for (int k0 = begin, stage = 0; k0 < range.end; k0 += BLOCK_N, stage ^= 1) {
    if (k0 + BLOCK_N < range.end) load_keys(a, t, k0 + BLOCK_N, stage ^ 1);
    copy_commit();
    copy_wait<1>();
    __syncthreads();  // guards this stage's tiles: every thread's copies have landed
    if (k0 < own.end && k0 + BLOCK_N > own.begin) {
      // Scores.
      float s[KEY_BLOCKS][4] = {};
      product_rows<KEY_BLOCKS, HEAD_DIM, STRIDE>(s, t.qTile + warp * 16 * STRIDE * 2, t.kTiles + stage * KEY_TILE_BYTES,
                                                 lane);
      // Online softmax.
#if ANY_SCALE
#pragma unroll
      for (int j = 0; j < KEY_BLOCKS; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i) s[j][i] *= a.scale;
#endif
      if (!own.full(k0, k0 + BLOCK_N)) mask_scores<KEY_BLOCKS>(&s[0][0], k0 + (lane & 3) * 2, rowLo, rowHi);
      float factor[2];
      softmax.update<KEY_BLOCKS>(&s[0][0], scaleLog2, factor);
#pragma unroll
      for (int j = 0; j < DIM_BLOCKS; ++j) {
        acc[j][0] *= factor[0];
        acc[j][1] *= factor[0];
        acc[j][2] *= factor[1];
        acc[j][3] *= factor[1];
      }
      // Product.
      product_weights<DIM_BLOCKS, KEY_BLOCKS, STRIDE>(acc, s, t.vTiles + stage * KEY_TILE_BYTES, lane);
    }
    __syncthreads();  // guards this stage's tiles: nobody reads them any more when the next copy starts
  }
  copy_wait<0>();

  // Store.
  softmax.finish();
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    if (place[r] < a.Tq) store_row(a, softmax, acc, r, b, h, row_at(t.qRows, place[r]), lane);
  }
}
