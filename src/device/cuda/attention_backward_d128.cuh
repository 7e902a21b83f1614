// The order of products of attention_backward_sm90 at D 128, where dk and dv take more than half of a consumer's
// registers and there is no room for two tiles' scores and dp. Of the tiles n and n+1,
//
//   asked for                     meanwhile
//   scores(n+1), dq(n), dv(n)     weights of n+1; then dq(n) is added to global memory
//   dp(n+1), dk(n)                score gradients of n+1
//
// Weights pass through shared memory as the gradients do: registers that a product reads may not be written until the
// compiler sees all products done, and there are none to spare.
#pragma once
#include "attention_backward_tile.cuh"

/** What a consumer warpgroup holds through an item. */
struct Consumer {
  float dk[64], dv[64];
  int index;     // 0 or 1
  int turn = 0;  // query tiles so far: which of the two gradient tiles is next
};

/** acc [64 x 64] = own 64 rows times a query tile, a group of its own. */
DEVICE void ask_rows(float* acc, u32 own, u32 tile) {
  product_fence();
  row_product(acc, own, tile);
  product_commit();
}

/** Waits until both warpgroups' score gradients of a tile are there and asks for this one's 64 features of dq. */
DEVICE void ask_dq(const Shared& s, const Head& head, const Consumer& c, float* dq) {
#if WITH_DQ
  named_barrier<BOTH>(BARRIER_GRADIENTS);  // guards the gradients: both warpgroups have written theirs
  const u64 left = column_operand(s.gradients + (c.turn & 1) * GRADIENT_BYTES, 0);
  const u64 right = column_operand(head.keys + c.index * KEY_PANEL_BYTES, 0);
  product_fence();
#pragma unroll
  for (int i = 0; i < 2 * STEPS; ++i)
    Product<64, 1, 1>::run(dq, left + i * COLUMN_STEP, right + i * COLUMN_STEP, i > 0);
  product_commit();
#else
  named_barrier<128>(BARRIER_STORE + c.index);  // guards the gradients: this warpgroup has written its rows
#endif
}

DEVICE void add_dq(const Head& head, int m0, float* dq) {
#if WITH_DQ
  pin<32>(dq);
  float* to = head.dqSum + (i64)(m0 / BLOCK_M) * (BLOCK_M * HEAD_DIM);
#pragma unroll
  for (int j = 0; j < 8; ++j) reduce_add4(to + j * 512, dq[4 * j], dq[4 * j + 1], dq[4 * j + 2], dq[4 * j + 3]);
#endif
}

/** acc [64 keys x HEAD_DIM] += this warpgroup's rows of a shared tile [128 keys x 64 queries] times a query tile. */
DEVICE void ask_keys(float* acc, u32 shared, int index, u32 tile) {
  const u64 left = row_operand(shared + index * QUERY_PANEL_BYTES), right = query_operand(tile);
  pin<64>(acc);
  product_fence();
#pragma unroll
  for (int i = 0; i < STEPS; ++i) Product<HEAD_DIM, 0, 1>::run(acc, left + i * ROW_STEP, right + i * COLUMN_STEP, 1);
  product_commit();
}
DEVICE void ask_dv(const Shared& s, int stage, Consumer& c) {
  ask_keys(c.dv, s.weights, c.index, s.dout + stage * QUERY_BYTES);
}
DEVICE void ask_dk(const Shared& s, int stage, Consumer& c) {
  ask_keys(c.dk, s.gradients + (c.turn & 1) * GRADIENT_BYTES, c.index, s.q + stage * QUERY_BYTES);
}

/** Scores that have come, to weights. */
DEVICE void weigh_tile(const Shared& s, const Head& head, int m0, int stage, float* scores) {
  const int lane = threadIdx.x & 31;
  const u32 stats = s.stats + stage * STATS_BYTES;
  pin<32>(scores);
  if (m0 < head.fullBegin || m0 + BLOCK_M > head.fullEnd)
    mask_scores<8>(scores, m0 + (lane & 3) * 2, head.rowLo, head.rowHi);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const uint4 x = shared_load4(stats + (8 * j + (lane & 3) * 2) * 8);
    const float negativeLse[2] = {__uint_as_float(x.x), __uint_as_float(x.z)};
#pragma unroll
    for (int i = 0; i < 4; ++i)
      scores[4 * j + i] = exp2_fast(fmaf(scores[4 * j + i], head.scaleLog2, negativeLse[i & 1]));
  }
}

/**
 * Puts weights into shared memory for dv, and score gradients p (dp - delta) for dk and both warpgroups' dq. What is
 * overwritten of the gradients was last read by the dq before the last, which both have waited for before the last
 * barrier; weights, and gradients for dk, are read 16 rows a warp, by the warp that wrote them and has waited for that.
 */
DEVICE void share_tile(const Shared& s, int stage, Consumer& c, float* p, float* dp) {
  const int lane = threadIdx.x & 31, warpRow = (threadIdx.x >> 5 & 3) * 16;
  const u32 stats = s.stats + stage * STATS_BYTES;
  pin<32>(dp);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const uint4 x = shared_load4(stats + (8 * j + (lane & 3) * 2) * 8);
    const float delta[2] = {__uint_as_float(x.y), __uint_as_float(x.w)};
#pragma unroll
    for (int i = 0; i < 4; ++i) dp[4 * j + i] = p[4 * j + i] * (dp[4 * j + i] - delta[i & 1]);
  }
  u32 packed[16];
  pack_operand<STEPS>(packed, p);
  share_gradients(s.weights, c.index * 64 + warpRow, packed, lane);
  pack_operand<STEPS>(packed, dp);
  share_gradients(s.gradients + (c.turn & 1) * GRADIENT_BYTES, c.index * 64 + warpRow, packed, lane);
  async_fence();
}

/** A tile that sees none of this warpgroup's keys: its part of dq alone, from gradients of zero. */
DEVICE void pass_tile(const Shared& s, const Head& head, int m0, Consumer& c, Ring<STAGES>& ring) {
  barrier_wait(s.full(ring.stage), ring.parity);
#if WITH_DQ
  const int lane = threadIdx.x & 31, warpRow = (threadIdx.x >> 5 & 3) * 16;
  const u32 zeros[16] = {};
  share_gradients(s.gradients + (c.turn & 1) * GRADIENT_BYTES, c.index * 64 + warpRow, zeros, lane);
  async_fence();
  float dq[32];
  ask_dq(s, head, c, dq);
  product_wait<0>();
  add_dq(head, m0, dq);
  ++c.turn;
#endif
  release(s.empty(ring.stage));
  ring.next();
}

/** One query head of an item. */
DEVICE void consume_head(const Shared& s, const Head& head, Consumer& c, Ring<STAGES>& ring) {
  int m0 = head.range.begin / BLOCK_M * BLOCK_M;
  const int end = head.own.begin < head.own.end ? head.own.end : 0;
  for (; m0 < head.range.end && m0 + BLOCK_M <= head.own.begin; m0 += BLOCK_M) pass_tile(s, head, m0, c, ring);
  if (m0 < end) {
    float p[32];  // scores, then weights
    float x[32];  // dq of one tile, then dp of the next
    await_tile(s.full(ring.stage), ring.parity);
    ask_rows(p, head.ownKeys, s.q + ring.stage * QUERY_BYTES);
    ask_rows(x, head.ownValues, s.dout + ring.stage * QUERY_BYTES);
    product_wait<1>();  // for the scores
    weigh_tile(s, head, m0, ring.stage, p);
    product_wait<0>();
    share_tile(s, ring.stage, c, p, x);
    for (m0 += BLOCK_M; m0 < end; m0 += BLOCK_M) {
      const int before = ring.stage;
      ring.next();
      await_tile(s.full(ring.stage), ring.parity);
      ask_rows(p, head.ownKeys, s.q + ring.stage * QUERY_BYTES);
      ask_dq(s, head, c, x);
      ask_dv(s, before, c);
      product_wait<1 + WITH_DQ>();  // for the scores
      weigh_tile(s, head, m0, ring.stage, p);
      product_wait<1>();  // for dq
      add_dq(head, m0 - BLOCK_M, x);
      ask_rows(x, head.ownValues, s.dout + ring.stage * QUERY_BYTES);
      ask_dk(s, before, c);
      product_wait<1>();  // for dv, dp
      pin<64>(c.dv);
      ++c.turn;
      share_tile(s, ring.stage, c, p, x);
      product_wait<0>();  // for dk
      pin<64>(c.dk);
      __syncwarp();  // guards the stats: the whole warp has read them
      release(s.empty(before));
    }
    ask_dq(s, head, c, x);
    ask_dv(s, ring.stage, c);
    ask_dk(s, ring.stage, c);
    product_wait<2>();  // for dq
    add_dq(head, m0 - BLOCK_M, x);
    product_wait<0>();
    pin<64>(c.dk);
    pin<64>(c.dv);
    ++c.turn;
    __syncwarp();  // likewise
    release(s.empty(ring.stage));
    ring.next();
  }
  for (; m0 < head.range.end; m0 += BLOCK_M) pass_tile(s, head, m0, c, ring);
}

/**
 * Writes dk and dv of an item, through this warpgroup's own rows of the two gradient tiles, so that the next keys and
 * values can load meanwhile.
 */
DEVICE void store_item(const AttentionArgs& a, const Shared& s, const Turn& turn, int buffer, const Consumer& c) {
  const int first = turn.first + c.index * 64, hk = key_head(a, turn.h);
  const int* kRows = rows_of(a.kRows, turn.b, hk);
  const u32 tile = s.gradients + c.index * QUERY_PANEL_BYTES;
  release(s.keys_empty(buffer));
  named_barrier<BOTH>(BARRIER_GRADIENTS);  // guards the gradients: nobody's dq reads them any more
  store_keys(a.dv, turn, hk, kRows, first, a.Tk, c.dv, 1.f, a.accumulateKV, tile, GRADIENT_BYTES);
  store_keys(a.dk, turn, hk, kRows, first, a.Tk, c.dk, a.scale, a.accumulateKV, tile, GRADIENT_BYTES);
}
