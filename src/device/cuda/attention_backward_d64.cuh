// The order of products of attention_backward_sm90 at D 64: the scores and dp of the next tile are asked for before the
// products of this one, which run under its softmax; dq is added up a tile later, under other products.
#pragma once
#include "attention_backward_tile.cuh"

/** Loads of a tile's stats that run under the products; by measurement, one more or less costs up to 5%. */
constexpr int EARLY = IDENTITY ? 2 : 3;

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
      __syncwarp();  // guards the stats: the whole warp has read them
      release(s.empty(before));
      pack_tile(s, c, scores, dp, 0);
    }
    ask_products(s, head, m0 - BLOCK_M, ring.stage, c);
    c.finish_products();
    c.add_dq(head);
    __syncwarp();  // likewise
    release(s.empty(ring.stage));
    ring.next();
  }
  for (; m0 < head.range.end; m0 += BLOCK_M) pass_tile(s, head, m0, c, ring);
}

/** Writes dk and dv of an item, through this warpgroup's own rows of the values: only its own products read them. */
DEVICE void store_item(const AttentionArgs& a, const Shared& s, const Turn& turn, int buffer, const Consumer& c) {
  const int first = turn.first + c.index * 64, hk = key_head(a, turn.h);
  const int* kRows = rows_of(a.kRows, turn.b, hk);
  const u32 tile = s.v + buffer * KEY_BYTES + c.index * QUERY_PANEL_BYTES;
  named_barrier<128>(BARRIER_STORE + c.index);  // guards the values: all four warps' products are done
  store_keys(a.dv, turn, hk, kRows, first, a.Tk, c.dv, 1.f, a.accumulateKV, tile, 0);
  store_keys(a.dk, turn, hk, kRows, first, a.Tk, c.dk, a.scale, a.accumulateKV, tile, 0);
  async_fence();
  release(s.keys_empty(buffer));
}
