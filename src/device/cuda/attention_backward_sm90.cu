// Attention backward over a staircase, for sm_90a (wgmma, warp-specialised, persistent): five products a tile.
//
// Inputs:  q, dout [B,Tq,H,D], k, v [B,Tk,Hk,D] strided, 16-byte aligned rows; staircase qRows, kRows, qLo, qHi, which
//          never decrease; stats f32 [B,H,Tq'] x 2 in visit order, (-lse in base 2, delta), by
//          attention_backward_prepare. IDENTITY: four tensor maps over (D, heads, T, B), box (64, 1, 64, 1), 128-byte
//          swizzle.
// Outputs: dk, dv [B,Tk,Hk,D] strided, summed over the query heads of a key head, added into with accumulateKV;
//          dqSum f32 [B,H,Tq'/64][64 * 64], added into, not yet scaled, each tile as two halves of 32 features in the
//          accumulator layout of the tensor cores (attention_backward_finish undoes it). Tq' is Tq padded to 64.
// Scratch: `counter`, two i32, zero before and left zero.
// Grid:    any number of blocks; an item is BLOCK_N = 128 key places of one key head, a turn one of its query heads.
// Threads: warpgroup 0 loads keys and values of an item, and a ring of STAGES query tiles (q, dout, stats); warpgroups
//          1 and 2 own 64 keys each and their dk, dv. dq needs the score gradients of both: they pass through shared
//          memory, and each makes 32 features of the product, which is added up a tile later, under other products.
// Shared:  1024 + 65536 + STAGES * (16384 + 512) + 3 * 16384 + 2048 + (STAGES + 4) * 16 + 384 bytes.
// Set by the launcher: HEAD_DIM (64), STAGES, REGISTERS_LOAD, REGISTERS_COMPUTE (a thread; 88, 208, or 40, 232
//          with IDENTITY), WITH_DQ (0: dk, dv alone, for the deterministic backward), ELEMENT_F16, IDENTITY.
// Numerics: products in the element type with f32 accumulation; weights and score gradients are rounded to the element
//          type before their products; dq sums in f32, in no fixed order. scale > 0.
// Follows FlashAttention-3 (arXiv 2407.08608): transposed scores, so that dk and dv take their left operand from
// registers. The scores of the next tile are asked for before the products of this one, which run under its softmax.
#include "attention_backward_load.cuh"
#include "common.cuh"
#include "hopper.cuh"
#include "online_softmax.cuh"
#include "ring.cuh"
#include "tile_range.cuh"

/** Loads of a tile's stats that run under the products; by measurement, one more or less costs up to 5%. */
constexpr int EARLY = IDENTITY ? 2 : 3;

// -- consumer ---------------------------------------------------------------------------------------------------------

/** acc [64 x 64] = own 64 rows times the rows of a query tile, over the features. */
DEVICE void row_product(float* acc, u32 own, u32 tile) {
  const u64 left = row_operand(own), right = row_operand(tile);
#pragma unroll
  for (int i = 0; i < STEPS; ++i) Product<64, 0, 0>::run(acc, left + i * ROW_STEP, right + i * ROW_STEP, i > 0);
}

/** acc [64 keys x 64 features] += weights [64 keys x 64 queries] times a query tile. */
DEVICE void weight_product(float* acc, const u32* weights, u32 tile) {
  const u64 right = column_operand(tile, 0);
#pragma unroll
  for (int i = 0; i < STEPS; ++i) Product<64, 0, 1>::run(acc, weights + 4 * i, right + i * COLUMN_STEP, 1);
}

/** What a thread reads of a tile's stats for its queries 8 j, 8 j + 1 onwards: twice (-lse in base 2, delta). */
DEVICE uint4 stats_pair(u32 stats, int j) { return shared_load4(stats + (8 * j + (threadIdx.x & 3) * 2) * 8); }

/** Scores to weights, and their gradients: p = exp2(s - lse), ds = p (dp - delta), in place. early: the first stats. */
DEVICE void weigh(float* p, float* ds, u32 stats, float scaleLog2, const uint4* early, int earlyCount) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const uint4 x = j < earlyCount ? early[j] : stats_pair(stats, j);
    const float negativeLse[2] = {__uint_as_float(x.x), __uint_as_float(x.z)};
    const float delta[2] = {__uint_as_float(x.y), __uint_as_float(x.w)};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      p[4 * j + i] = exp2_fast(fmaf(p[4 * j + i], scaleLog2, negativeLse[i & 1]));
      ds[4 * j + i] = p[4 * j + i] * (ds[4 * j + i] - delta[i & 1]);
    }
  }
}

/** Writes packed score gradients [64 keys x 64 queries] to the shared tile, rows by key. */
DEVICE void share_gradients(u32 tile, int row, const u32* ds, int lane) {
  const int at = row + (lane & 15);
#pragma unroll
  for (int i = 0; i < STEPS; ++i) store_matrices(tile + swizzle(at, 2 * i + (lane >> 4)), ds + 4 * i);
}

/** Writes 64 x 64 accumulators to the rows of 64 key places through 64 own rows of shared memory. */
DEVICE void store_keys(const View& out, const Turn& item, int hk, const int* rows, int first, int end, const float* acc,
                       float scale, int accumulate, u32 tile) {
  const int lane = threadIdx.x & 31, warpRow = (threadIdx.x >> 5 & 3) * 16;
#pragma unroll
  for (int r = 0; r < 2; ++r)
#pragma unroll
    for (int j = 0; j < 8; ++j)
      shared_store(tile + swizzle(warpRow + (lane >> 2) + 8 * r, j) + (lane & 3) * 4,
                   pack(acc[4 * j + 2 * r] * scale, acc[4 * j + 2 * r + 1] * scale));
  __syncwarp();  // guards the warp's 16 rows: all are written
  u16* base = view_head<u16>(out, item.b, hk);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int at = warpRow + i * 4 + (lane >> 3), chunk = lane & 7;
    if (first + at >= end) continue;
    uint4* to = (uint4*)(base + row_at(rows, first + at) * out.row + chunk * 8);
    uint4 x = shared_load4(tile + swizzle(at, chunk));
    *to = accumulate ? add8(x, *to) : x;
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
    ownKeys = keys + index * QUERY_BYTES;
    ownValues = s.v + buffer * KEY_BYTES + index * QUERY_BYTES;
    const int qTiles = (a.Tq + BLOCK_M - 1) / BLOCK_M;
    dqSum = a.dqSum + (i64)(item.b * a.H + item.h) * qTiles * (BLOCK_M * HEAD_DIM) + index * 2048 +
            (threadIdx.x & 127) * 4;
    scaleLog2 = a.scale * LOG2_E;
  }
};

/** What a consumer warpgroup holds through an item. */
struct Consumer {
  float dk[32], dv[32], dq[16];
  u32 p[16], ds[16];
  int index;              // 0 or 1
  int turn = 0;           // which of the gradient tiles is next
  int dqFrom = -1;        // queries whose dq product has been asked for and not been added: the first of them

  DEVICE void finish_products() {
    product_wait<0>();
    pin<32>(dk);
    pin<32>(dv);
    pin<16>(p);
    pin<16>(ds);
  }
  /** Adds a finished product of dq to its tile. */
  DEVICE void add_dq(const Head& head) {
#if WITH_DQ
    if (dqFrom < 0) return;
    float* to = head.dqSum + (i64)(dqFrom / BLOCK_M) * (BLOCK_M * HEAD_DIM);
    pin<16>(dq);
#pragma unroll
    for (int j = 0; j < 4; ++j) reduce_add4(to + j * 512, dq[4 * j], dq[4 * j + 1], dq[4 * j + 2], dq[4 * j + 3]);
    dqFrom = -1;
#endif
  }
};

/** Asks for the scores and dp of a query tile that is there. */
DEVICE void ask_scores(const Shared& s, const Head& head, const Ring<STAGES>& ring, float* scores, float* dp) {
  pin<32>(scores);
  pin<32>(dp);
  product_fence();
  row_product(scores, head.ownKeys, s.q + ring.stage * QUERY_BYTES);
  row_product(dp, head.ownValues, s.dout + ring.stage * QUERY_BYTES);
  product_commit();
}

/** Turns a tile's scores and dp into weights and score gradients, in place. early: COUNT of its stats, read before. */
template <int COUNT>
DEVICE void softmax_tile(const Shared& s, const Head& head, int m0, const Ring<STAGES>& ring, float* scores, float* dp,
                         const uint4* early) {
  const int lane = threadIdx.x & 31;
  if (m0 < head.fullBegin || m0 + BLOCK_M > head.fullEnd)
    mask_scores<8>(scores, m0 + (lane & 3) * 2, head.rowLo, head.rowHi);
  weigh(scores, dp, s.stats + ring.stage * STATS_BYTES, head.scaleLog2, early, COUNT);
}

/**
 * Shows the packed score gradients of the next tile to both warpgroups, or of the one after it (`ahead` 1). Both have
 * waited for the dq that last read this part of shared memory before they came to the last barrier.
 */
DEVICE void share_tile(const Shared& s, const Consumer& c, int ahead) {
#if WITH_DQ
  const int lane = threadIdx.x & 31, warpRow = (threadIdx.x >> 5 & 3) * 16, at = (c.turn + ahead) % GRADIENT_TILES;
  share_gradients(s.gradients + at * GRADIENT_BYTES, c.index * 64 + warpRow, c.ds, lane);
  async_fence();
#endif
}

DEVICE void pack_tile(const Shared& s, Consumer& c, const float* scores, const float* dp, int ahead) {
  pack_operand<STEPS>(c.p, scores);
  pack_operand<STEPS>(c.ds, dp);
  share_tile(s, c, ahead);
}

/** Shows gradients of zero: the next tile sees none of this warpgroup's keys. */
DEVICE void share_nothing(const Shared& s, Consumer& c) {
#pragma unroll
  for (int i = 0; i < 16; ++i) c.ds[i] = 0;
  share_tile(s, c, 0);
}

/** Asks for this warpgroup's half of a tile's dq, once both warpgroups' score gradients are there. */
DEVICE void ask_dq(const Shared& s, const Head& head, int m0, Consumer& c) {
#if WITH_DQ
  named_barrier<BOTH>(BARRIER_GRADIENTS);  // guards the gradients: both warpgroups have written theirs
  const u64 left = column_operand(s.gradients + c.turn * GRADIENT_BYTES, 0);
  const u64 right = column_operand(head.keys + c.index * 64, 0);
  pin<16>(c.dq);
  product_fence();
#pragma unroll
  for (int i = 0; i < 2 * STEPS; ++i)
    Product<32, 1, 1>::run(c.dq, left + i * COLUMN_STEP, right + i * COLUMN_STEP, i > 0);
  product_commit();
  c.dqFrom = m0;
  c.turn = (c.turn + 1) % GRADIENT_TILES;
#endif
}

/** Asks for the products of a tile whose weights are packed: dk and dv in one group, dq in another. */
DEVICE void ask_products(const Shared& s, const Head& head, int m0, int stage, Consumer& c) {
  pin<16>(c.p);
  pin<16>(c.ds);
  pin<32>(c.dv);
  pin<32>(c.dk);
  product_fence();
  weight_product(c.dv, c.p, s.dout + stage * QUERY_BYTES);
  weight_product(c.dk, c.ds, s.q + stage * QUERY_BYTES);
  product_commit();
  c.add_dq(head);  // under the products; not before the fences, which would wait for it
  ask_dq(s, head, m0, c);
}

/** The part of dq of a tile that sees none of this warpgroup's keys, whose gradients are shown. */
DEVICE void pass_dq(const Shared& s, const Head& head, int m0, Consumer& c, Ring<STAGES>& ring) {
  barrier_wait(s.full(ring.stage), ring.parity);
  ask_dq(s, head, m0, c);
  c.finish_products();
  c.add_dq(head);
  release(s.empty(ring.stage));
  ring.next();
}

DEVICE void pass_tile(const Shared& s, const Head& head, int m0, Consumer& c, Ring<STAGES>& ring) {
  share_nothing(s, c);
  pass_dq(s, head, m0, c, ring);
}

/** One query head of an item: each tile's softmax runs under the products of the tile before. */
DEVICE void consume_head(const Shared& s, const Head& head, Consumer& c, Ring<STAGES>& ring) {
  int m0 = head.range.begin / BLOCK_M * BLOCK_M;
  const int end = head.own.begin < head.own.end ? head.own.end : 0;
  const int first = end > 0 ? head.own.begin / BLOCK_M * BLOCK_M : head.range.end;
  for (; m0 + (end > 0 ? BLOCK_M : 0) < first; m0 += BLOCK_M) pass_tile(s, head, m0, c, ring);
  if (m0 < end) {
    float scores[32], dp[32];
    // The last tile passed over, if any, waits for the other warpgroup's first: meanwhile this one's first is made.
    const int late = m0 < first;
    Ring<STAGES> own = ring;
    if (late) {
      share_nothing(s, c);
      own.next();
    }
    await_tile(s.full(own.stage), own.parity);
    ask_scores(s, head, own, scores, dp);
    product_wait<0>();
    pin<32>(scores);
    pin<32>(dp);
    softmax_tile<0>(s, head, first, own, scores, dp, nullptr);
    pack_tile(s, c, scores, dp, late);
    if (late) pass_dq(s, head, m0, c, ring);
    m0 = first;
    for (m0 += BLOCK_M; m0 < end; m0 += BLOCK_M) {
      const int before = ring.stage;
      ring.next();
      await_tile(s.full(ring.stage), ring.parity);
      ask_scores(s, head, ring, scores, dp);
      ask_products(s, head, m0 - BLOCK_M, before, c);
      uint4 early[EARLY];
#pragma unroll
      for (int j = 0; j < EARLY; ++j) early[j] = stats_pair(s.stats + ring.stage * STATS_BYTES, j);
      product_wait<1 + WITH_DQ>();
      pin<32>(scores);
      pin<32>(dp);
      softmax_tile<EARLY>(s, head, m0, ring, scores, dp, early);
      c.finish_products();
      release(s.empty(before));
      pack_tile(s, c, scores, dp, 0);
    }
    ask_products(s, head, m0 - BLOCK_M, ring.stage, c);
    c.finish_products();
    c.add_dq(head);
    release(s.empty(ring.stage));
    ring.next();
  }
  for (; m0 < head.range.end; m0 += BLOCK_M) pass_tile(s, head, m0, c, ring);
}

DEVICE void consume(const AttentionArgs& a, const Shared& s, int index) {
  const int group = a.H / a.Hk;
  Ring<STAGES> ring;
  Consumer c;
  c.index = index;
  const Dealer dealer(s.dealer);
  for (int n = 0, round = 0;; ++n) {
    dealer.wait(n);
    const Turn turn = dealer.read(n);
    if (!turn.valid) break;
    dealer.done(n);
    const int buffer = round & 1;
    if (turn.h % group == 0) {
#pragma unroll
      for (int i = 0; i < 32; ++i) c.dk[i] = c.dv[i] = 0.f;
      await_tile(s.keys_full(buffer), round >> 1 & 1);
    }
    consume_head(s, Head(a, s, turn, buffer, n, index), c, ring);
    if (turn.h % group != group - 1) continue;
    // Store, through this warpgroup's own rows of the values: only its own products read them, and they are done.
    const int first = turn.first + index * 64, hk = key_head(a, turn.h);
    const int* kRows = rows_of(a.kRows, turn.b, hk);
    const u32 tile = s.v + buffer * KEY_BYTES + index * QUERY_BYTES;
    named_barrier<128>(BARRIER_STORE + index);  // guards the values: all four warps' products are done
    store_keys(a.dv, turn, hk, kRows, first, a.Tk, c.dv, 1.f, a.accumulateKV, tile);
    store_keys(a.dk, turn, hk, kRows, first, a.Tk, c.dk, a.scale, a.accumulateKV, tile);
    async_fence();
    release(s.keys_empty(buffer));
    ++round;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    attention_backward_sm90(const __grid_constant__ AttentionArgs a, const __grid_constant__ TensorMap qMap,
                            const __grid_constant__ TensorMap kMap, const __grid_constant__ TensorMap vMap,
                            const __grid_constant__ TensorMap doutMap) {
  extern __shared__ u16 memory[];
  const Shared s(memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; ++i) {
      barrier_init(s.full(i), IDENTITY ? 1 : 128);
      barrier_init(s.empty(i), CONSUMER_WARPS);
    }
    for (int i = 0; i < 2; ++i) {
      barrier_init(s.keys_full(i), IDENTITY ? 1 : 128);
      barrier_init(s.keys_empty(i), CONSUMER_WARPS);
      barrier_init(s.bounds_full(i), 128);
      barrier_init(s.bounds_empty(i), CONSUMER_WARPS);
    }
    Dealer(s.dealer).init(CONSUMER_WARPS + 4);
    barrier_init_fence();
  }
  __syncthreads();  // guards the barriers: they are initialised
  const int warpgroup = uniform(threadIdx.x / 128);
  if (warpgroup == 0) {
    registers_shrink<REGISTERS_LOAD>();
    const Maps maps = {&qMap, &kMap, &vMap, &doutMap};
    produce(a, s, maps);
  } else {
    registers_grow<REGISTERS_COMPUTE>();
    consume(a, s, warpgroup - 1);
  }
}
