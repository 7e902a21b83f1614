// Attention backward over a staircase, for sm_80 and later (mma.sync, cp.async). Two kernels, no atomics: equal bits
// run to run. The price is two products more than the fused backward (scores and dp are made twice).
//
//   attention_backward_kv: dk, dv, one block a key tile, reading the staircase by columns.
//   attention_backward_q:  dq, one block a query tile, reading it by rows.
// Inputs:  q, dout [B,Tq,H,D], k, v [B,Tk,Hk,D] strided; lse, delta f32 [B,H,Tq] strided; the staircase.
// Outputs: dq like q; dk, dv like k, v, summed over the query heads of a key head; added into with accumulateQ,
//          accumulateKV.
// Grid:    kv: x = ceil(Tk / BLOCK_M) * Hk * B, y = slices of SLICE features of dk and dv; q: x = ceil(Tq / BLOCK_M)
//          * H * B, y likewise. BLOCK_M is the tile a block owns (keys or queries), 16 of them a warp; BLOCK_N is the
//          tile of the other side that it steps over.
// Shared:  (2 * BLOCK_M + 4 * BLOCK_N) * (HEAD_DIM + 8) * 2 + 4 * BLOCK_N * 4 bytes.
// Set by the launcher: HEAD_DIM (D padded to 16), SLICE (features of the output a block makes: bounds registers;
//          divides HEAD_DIM), BLOCK_M, BLOCK_N, ELEMENT_F16, IDENTITY.
// Numerics: as the forward; weights and score gradients are rounded to the element type before their products.
// Follows FlashAttention-2 (arXiv 2307.08691).
#include "common.cuh"
#include "mma.cuh"
#include "tile_range.cuh"

constexpr int STRIDE = HEAD_DIM + 8;
constexpr int THREADS = BLOCK_M * 2;
constexpr int OTHER_BLOCKS = BLOCK_N / 8;
constexpr int SLICE_BLOCKS = SLICE / 8;
constexpr int OWN_TILE_BYTES = BLOCK_M * STRIDE * 2;
constexpr int TILE_BYTES = BLOCK_N * STRIDE * 2;

/** -lse in base 2, such that a row that saw nothing, or does not exist, gets weights of zero. */
DEVICE float negative_lse2(float lse) { return lse == -INFINITE ? -INFINITE : -lse * LOG2_E; }

/** Writes 16 x SLICE accumulators times `scale` to the rows of places first.. */
DEVICE void store_gradient(const View& out, int b, int h, const int* rows, int first, int end, int D, int feature,
                           float (*acc)[4], float scale, int accumulate, int lane) {
  u16* base = view_head<u16>(out, b, h);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    int place = first + (lane >> 2) + 8 * r;
    if (place >= end) continue;
    u16* to = base + row_at(rows, place) * out.row;
#pragma unroll
    for (int j = 0; j < SLICE_BLOCKS; ++j) {
      int d = feature + j * 8 + (lane & 3) * 2;
      if (d >= D) continue;
      float x = acc[j][2 * r] * scale, y = acc[j][2 * r + 1] * scale;
      if (accumulate) {
        float2 before = unpack(*(const u32*)(to + d));
        x += before.x;
        y += before.y;
      }
      *(u32*)(to + d) = pack(x, y);
    }
  }
}

/** One head's pointers for a block. */
struct Heads {
  const u16 *q, *k, *v, *dout;
  const float *lse, *delta;
  const int *qRows, *kRows;
  DEVICE Heads(const AttentionArgs& a, int b, int h, int hk) {
    q = view_head<u16>(a.q, b, h);
    dout = view_head<u16>(a.dout, b, h);
    k = view_head<u16>(a.k, b, hk);
    v = view_head<u16>(a.v, b, hk);
    lse = view_head<float>(a.lse, b, h);
    delta = view_head<float>(a.delta, b, h);
    qRows = a.qRows.data ? index_row(a.qRows, b, h) : nullptr;
    kRows = a.kRows.data ? index_row(a.kRows, b, hk) : nullptr;
  }
};

extern "C" __global__ void __launch_bounds__(THREADS) attention_backward_kv(const __grid_constant__ AttentionArgs a) {
  extern __shared__ __align__(128) u16 shared[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int tiles = (a.Tk + BLOCK_M - 1) / BLOCK_M;
  const int first = (int)(blockIdx.x % tiles) * BLOCK_M;
  const int hk = blockIdx.x / tiles % a.Hk, b = blockIdx.x / tiles / a.Hk;
  const int feature = blockIdx.y * SLICE;
  const u32 kTile = shared_address(shared), vTile = kTile + OWN_TILE_BYTES;
  const u32 qTiles = vTile + OWN_TILE_BYTES, doutTiles = qTiles + 2 * TILE_BYTES;
  float2* stats = (float2*)(shared + (2 * BLOCK_M + 4 * BLOCK_N) * STRIDE);  // [2][BLOCK_N] of (-lse2, delta)

  Heads key(a, b, hk * (a.H / a.Hk), hk);
  load_tile<BLOCK_M, HEAD_DIM, STRIDE, THREADS>(kTile, key.k, a.k.row, key.kRows, first, a.Tk, a.D, threadIdx.x);
  load_tile<BLOCK_M, HEAD_DIM, STRIDE, THREADS>(vTile, key.v, a.v.row, key.kRows, first, a.Tk, a.D, threadIdx.x);
  copy_commit();

  float dk[SLICE_BLOCKS][4] = {}, dv[SLICE_BLOCKS][4] = {};
  const float scaleLog2 = a.scale * LOG2_E;
  for (int h = hk * (a.H / a.Hk); h < (hk + 1) * (a.H / a.Hk); ++h) {
    const Heads t(a, b, h, hk);
    const int *qLo = index_row(a.qLo, b, h), *qHi = index_row(a.qHi, b, h);
    // Keys from `seen` on are seen by nobody. Cut there: their bounds would make a tile reach to the last query.
    const int seen = a.Tq > 0 ? __ldg(index_row(a.hi, b, h) + a.Tq - 1) : 0;
    const TileRange range = tile_range(qLo, qHi, first, BLOCK_M, seen);
    const TileRange own = tile_range(qLo, qHi, first + warp * 16, 16, seen);
    const int begin = range.begin / BLOCK_N * BLOCK_N;
    int rowLo[2], rowHi[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      int place = first + warp * 16 + (lane >> 2) + 8 * r;
      rowLo[r] = place < a.Tk ? __ldg(qLo + place) : 0;
      rowHi[r] = place < a.Tk ? __ldg(qHi + place) : 0;
    }
    auto load = [&](int n0, int stage) {
      load_tile<BLOCK_N, HEAD_DIM, STRIDE, THREADS>(qTiles + stage * TILE_BYTES, t.q, a.q.row, t.qRows, n0, a.Tq, a.D,
                                                    threadIdx.x);
      load_tile<BLOCK_N, HEAD_DIM, STRIDE, THREADS>(doutTiles + stage * TILE_BYTES, t.dout, a.dout.row, t.qRows, n0,
                                                    a.Tq, a.D, threadIdx.x);
      for (int i = threadIdx.x; i < BLOCK_N; i += THREADS) {
        float2 s = make_float2(-INFINITE, 0.f);
        if (n0 + i < a.Tq) {
          int row = row_at(t.qRows, n0 + i);
          s = make_float2(negative_lse2(t.lse[row * a.lse.row]), t.delta[row * a.delta.row]);
        }
        stats[stage * BLOCK_N + i] = s;
      }
    };
    if (!range.empty()) load(begin, 0);
    copy_commit();
    for (int n0 = begin, stage = 0; n0 < range.end; n0 += BLOCK_N, stage ^= 1) {
      if (n0 + BLOCK_N < range.end) load(n0 + BLOCK_N, stage ^ 1);
      copy_commit();
      copy_wait<1>();
      __syncthreads();  // guards this stage's tiles and stats (and k, v): they have landed
      if (n0 < own.end && n0 + BLOCK_N > own.begin) {
        // Scores, transposed: rows are keys, columns queries.
        float p[OTHER_BLOCKS][4] = {}, ds[OTHER_BLOCKS][4] = {};
        product_rows<OTHER_BLOCKS, HEAD_DIM, STRIDE>(p, kTile + warp * 16 * STRIDE * 2, qTiles + stage * TILE_BYTES,
                                                     lane);
        product_rows<OTHER_BLOCKS, HEAD_DIM, STRIDE>(ds, vTile + warp * 16 * STRIDE * 2, doutTiles + stage * TILE_BYTES,
                                                     lane);
        bool full = own.full(n0, n0 + BLOCK_N);
#pragma unroll
        for (int j = 0; j < OTHER_BLOCKS; ++j)
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            int column = j * 8 + (lane & 3) * 2 + (i & 1);
            float2 s = stats[stage * BLOCK_N + column];
            bool seen = full || (n0 + column >= rowLo[i >> 1] && n0 + column < rowHi[i >> 1]);
            p[j][i] = seen ? exp2_fast(fmaf(p[j][i], scaleLog2, s.x)) : 0.f;
            ds[j][i] = p[j][i] * (ds[j][i] - s.y);
          }
        // Products.
        product_weights<SLICE_BLOCKS, OTHER_BLOCKS, STRIDE>(dv, p, doutTiles + stage * TILE_BYTES + feature * 2, lane);
        product_weights<SLICE_BLOCKS, OTHER_BLOCKS, STRIDE>(dk, ds, qTiles + stage * TILE_BYTES + feature * 2, lane);
      }
      __syncthreads();  // guards this stage's tiles and stats: nobody reads them when the next load starts
    }
  }
  copy_wait<0>();
  store_gradient(a.dv, b, hk, key.kRows, first + warp * 16, a.Tk, a.D, feature, dv, 1.f, a.accumulateKV, lane);
  store_gradient(a.dk, b, hk, key.kRows, first + warp * 16, a.Tk, a.D, feature, dk, a.scale, a.accumulateKV, lane);
}

extern "C" __global__ void __launch_bounds__(THREADS) attention_backward_q(const __grid_constant__ AttentionArgs a) {
  extern __shared__ __align__(128) u16 shared[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int tiles = (a.Tq + BLOCK_M - 1) / BLOCK_M;
  const int first = (tiles - 1 - (int)(blockIdx.x % tiles)) * BLOCK_M;
  const int h = blockIdx.x / tiles % a.H, b = blockIdx.x / tiles / a.H, hk = (int)((i64)h * a.Hk / a.H);
  const int feature = blockIdx.y * SLICE;
  const u32 qTile = shared_address(shared), doutTile = qTile + OWN_TILE_BYTES;
  const u32 kTiles = doutTile + OWN_TILE_BYTES, vTiles = kTiles + 2 * TILE_BYTES;

  const Heads t(a, b, h, hk);
  const int *lo = index_row(a.lo, b, h), *hi = index_row(a.hi, b, h);
  const TileRange range = tile_range(lo, hi, first, BLOCK_M, a.Tq);
  const TileRange own = tile_range(lo, hi, first + warp * 16, 16, a.Tq);
  const int begin = range.begin / BLOCK_N * BLOCK_N;
  auto load = [&](int k0, int stage) {
    load_tile<BLOCK_N, HEAD_DIM, STRIDE, THREADS>(kTiles + stage * TILE_BYTES, t.k, a.k.row, t.kRows, k0, a.Tk, a.D,
                                                  threadIdx.x);
    load_tile<BLOCK_N, HEAD_DIM, STRIDE, THREADS>(vTiles + stage * TILE_BYTES, t.v, a.v.row, t.kRows, k0, a.Tk, a.D,
                                                  threadIdx.x);
  };
  load_tile<BLOCK_M, HEAD_DIM, STRIDE, THREADS>(qTile, t.q, a.q.row, t.qRows, first, a.Tq, a.D, threadIdx.x);
  load_tile<BLOCK_M, HEAD_DIM, STRIDE, THREADS>(doutTile, t.dout, a.dout.row, t.qRows, first, a.Tq, a.D, threadIdx.x);
  if (!range.empty()) load(begin, 0);
  copy_commit();

  int rowLo[2], rowHi[2];
  float lse2[2], delta[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    int place = first + warp * 16 + (lane >> 2) + 8 * r;
    bool inside = place < a.Tq;
    int row = inside ? row_at(t.qRows, place) : 0;
    rowLo[r] = inside ? __ldg(lo + place) : 0;
    rowHi[r] = inside ? __ldg(hi + place) : 0;
    lse2[r] = inside ? negative_lse2(t.lse[row * a.lse.row]) : -INFINITE;
    delta[r] = inside ? t.delta[row * a.delta.row] : 0.f;
  }
  float dq[SLICE_BLOCKS][4] = {};
  const float scaleLog2 = a.scale * LOG2_E;
  for (int k0 = begin, stage = 0; k0 < range.end; k0 += BLOCK_N, stage ^= 1) {
    if (k0 + BLOCK_N < range.end) load(k0 + BLOCK_N, stage ^ 1);
    copy_commit();
    copy_wait<1>();
    __syncthreads();  // guards this stage's tiles (and q, dout): they have landed
    if (k0 < own.end && k0 + BLOCK_N > own.begin) {
      // Scores.
      float p[OTHER_BLOCKS][4] = {}, ds[OTHER_BLOCKS][4] = {};
      product_rows<OTHER_BLOCKS, HEAD_DIM, STRIDE>(p, qTile + warp * 16 * STRIDE * 2, kTiles + stage * TILE_BYTES,
                                                   lane);
      product_rows<OTHER_BLOCKS, HEAD_DIM, STRIDE>(ds, doutTile + warp * 16 * STRIDE * 2, vTiles + stage * TILE_BYTES,
                                                   lane);
      bool full = own.full(k0, k0 + BLOCK_N);
#pragma unroll
      for (int j = 0; j < OTHER_BLOCKS; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          int column = k0 + j * 8 + (lane & 3) * 2 + (i & 1), r = i >> 1;
          bool seen = full || (column >= rowLo[r] && column < rowHi[r]);
          float weight = seen ? exp2_fast(fmaf(p[j][i], scaleLog2, lse2[r])) : 0.f;
          ds[j][i] = weight * (ds[j][i] - delta[r]);
        }
      // Product.
      product_weights<SLICE_BLOCKS, OTHER_BLOCKS, STRIDE>(dq, ds, kTiles + stage * TILE_BYTES + feature * 2, lane);
    }
    __syncthreads();  // guards this stage's tiles: nobody reads them when the next load starts
  }
  copy_wait<0>();
  store_gradient(a.dq, b, h, t.qRows, first + warp * 16, a.Tq, a.D, feature, dq, a.scale, a.accumulateQ, lane);
}
