// The order of products of attention_backward_sm90 at D 64: the scores and dp of the next tile are asked for before the
// products of this one, which run under its softmax.
#pragma once
#include "attention_backward_tile.cuh"

/** What a consumer warpgroup holds through an item. */
struct Consumer {
  float dk[32], dv[32], dq[16];
  u32 p[16], ds[16];
  int index;              // 0 or 1
  int turn = 0;           // query tiles so far: which of the two gradient tiles is next
  float* dqAt = nullptr;  // where the dq product in flight goes

  /** Waits for all products and adds that of dq to its tile. */
  DEVICE void finish_products() {
    product_wait<0>();
    pin<32>(dk);
    pin<32>(dv);
    pin<16>(p);
    pin<16>(ds);
#if WITH_DQ
    pin<16>(dq);
#pragma unroll
    for (int j = 0; j < 4; ++j)
      reduce_add4(dqAt + j * 512, dq[4 * j], dq[4 * j + 1], dq[4 * j + 2], dq[4 * j + 3]);
#endif
  }
};

/** Asks for the scores and dp of a query tile. */
DEVICE void ask_scores(const Shared& s, const Head& head, const Ring<STAGES>& ring, float* scores, float* dp) {
  barrier_wait(s.full(ring.stage), ring.parity);
  pin<32>(scores);
  pin<32>(dp);
  product_fence();
  row_product(scores, head.ownKeys, s.q + ring.stage * QUERY_BYTES);
  row_product(dp, head.ownValues, s.dout + ring.stage * QUERY_BYTES);
  product_commit();
}

/** Scores to weights, and their gradients: p = exp2(s - lse), ds = p (dp - delta), in place. */
DEVICE void weigh(float* p, float* ds, u32 stats, float scaleLog2, int lane) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const uint4 x = shared_load4(stats + (8 * j + (lane & 3) * 2) * 8);
    const float negativeLse[2] = {__uint_as_float(x.x), __uint_as_float(x.z)};
    const float delta[2] = {__uint_as_float(x.y), __uint_as_float(x.w)};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      p[4 * j + i] = exp2_fast(fmaf(p[4 * j + i], scaleLog2, negativeLse[i & 1]));
      ds[4 * j + i] = p[4 * j + i] * (ds[4 * j + i] - delta[i & 1]);
    }
  }
}

/** Turns a tile's scores and dp into weights and score gradients, in place. */
DEVICE void softmax_tile(const Shared& s, const Head& head, int m0, const Ring<STAGES>& ring, float* scores,
                         float* dp) {
  const int lane = threadIdx.x & 31;
  if (m0 < head.fullBegin || m0 + BLOCK_M > head.fullEnd)
    mask_scores<8>(scores, m0 + (lane & 3) * 2, head.rowLo, head.rowHi);
  weigh(scores, dp, s.stats + ring.stage * STATS_BYTES, head.scaleLog2, lane);
}

/** Shows the packed score gradients to both warpgroups. */
DEVICE void share_tile(const Shared& s, const Consumer& c) {
  const int lane = threadIdx.x & 31, warpRow = (threadIdx.x >> 5 & 3) * 16;
  share_gradients(s.gradients + (c.turn & 1) * GRADIENT_BYTES, c.index * 64 + warpRow, c.ds, lane);
  async_fence();
}

DEVICE void pack_tile(const Shared& s, Consumer& c, const float* scores, const float* dp) {
  pack_operand<STEPS>(c.p, scores);
  pack_operand<STEPS>(c.ds, dp);
#if WITH_DQ
  share_tile(s, c);
#endif
}

/** Asks for this warpgroup's half of a tile's dq, once both warpgroups' score gradients are there. */
DEVICE void ask_dq(const Shared& s, const Head& head, int m0, Consumer& c) {
#if WITH_DQ
  named_barrier<BOTH>(BARRIER_GRADIENTS);  // guards the gradients: both warpgroups have written theirs
  const u64 left = column_operand(s.gradients + (c.turn & 1) * GRADIENT_BYTES, 0);
  const u64 right = column_operand(head.keys + c.index * 64, 0);
  pin<16>(c.dq);
  product_fence();
#pragma unroll
  for (int i = 0; i < 2 * STEPS; ++i)
    Product<32, 1, 1>::run(c.dq, left + i * COLUMN_STEP, right + i * COLUMN_STEP, i > 0);
  product_commit();
  c.dqAt = head.dqSum + (i64)(m0 / BLOCK_M) * (BLOCK_M * HEAD_DIM);
  ++c.turn;
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
  ask_dq(s, head, m0, c);
}

/** A tile that sees none of this warpgroup's keys: its part of dq alone, from gradients of zero. */
DEVICE void pass_tile(const Shared& s, const Head& head, int m0, Consumer& c, Ring<STAGES>& ring) {
  barrier_wait(s.full(ring.stage), ring.parity);
#if WITH_DQ
#pragma unroll
  for (int i = 0; i < 16; ++i) c.ds[i] = 0;
  share_tile(s, c);
  ask_dq(s, head, m0, c);
#endif
  c.finish_products();
  release(s.empty(ring.stage));
  ring.next();
}

/** One query head of an item: each tile's softmax runs under the products of the tile before. */
DEVICE void consume_head(const Shared& s, const Head& head, Consumer& c, Ring<STAGES>& ring) {
  int m0 = head.range.begin / BLOCK_M * BLOCK_M;
  const int end = head.own.begin < head.own.end ? head.own.end : 0;
  for (; m0 < head.range.end && m0 + BLOCK_M <= head.own.begin; m0 += BLOCK_M) pass_tile(s, head, m0, c, ring);
  if (m0 < end) {
    float scores[32], dp[32];
    ask_scores(s, head, ring, scores, dp);
    product_wait<0>();
    pin<32>(scores);
    pin<32>(dp);
    softmax_tile(s, head, m0, ring, scores, dp);
    pack_tile(s, c, scores, dp);
    for (m0 += BLOCK_M; m0 < end; m0 += BLOCK_M) {
      const int before = ring.stage;
      ring.next();
      ask_scores(s, head, ring, scores, dp);
      ask_products(s, head, m0 - BLOCK_M, before, c);
      product_wait<1 + WITH_DQ>();
      pin<32>(scores);
      pin<32>(dp);
      softmax_tile(s, head, m0, ring, scores, dp);
      c.finish_products();
      release(s.empty(before));
      pack_tile(s, c, scores, dp);
    }
    ask_products(s, head, m0 - BLOCK_M, ring.stage, c);
    c.finish_products();
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
