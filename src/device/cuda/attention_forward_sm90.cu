// Attention forward over a staircase, for sm_90a (wgmma, warp-specialised, persistent).
//
// o = softmax(scale * q k^T over the visible keys) v, and lse; a query that sees no key: o = 0, lse = -Infinity.
// Inputs:  q [B,Tq,H,D], k, v [B,Tk,Hk,D] strided, 16-byte aligned rows; staircase qRows, kRows, lo, hi.
//          IDENTITY: kMap, vMap, tensor maps over k, v as (D, Hk, Tk, B), box (64, 1, BLOCK_N, 1), 128-byte swizzle.
// Outputs: o [B,Tq,H,D] strided; lse f32 [B,H,Tq] strided, natural log. With `merge` both already hold the attention
//          over other keys, and become that of the union.
// Grid:    any number of blocks (one a multiprocessor is meant), each working through its share of the items; an item
//          is BLOCK_M = 64 * CONSUMERS query places of one head, longest first within a causal head. Items are dealt
//          through `counter`.
// Scratch: `counter`, two i32, zero before and left zero.
// Threads: warpgroup 0 loads keys and values into a ring of STAGES tiles, by bulk tensor copies (IDENTITY) or gathered
//          16 bytes a thread, the tables of rows two tiles before; each other warpgroup owns 64 query places and walks
//          the ring alone: none waits for another, and the next item's keys and queries load while the last of this one
//          is computed.
// Shared:  1024 + CONSUMERS * 2 * 64 * 2 * D + STAGES * 2 * BLOCK_N * 2 * D + CONSUMERS * 2 * 768
//          + STAGES * 32 + 384 + 4160 bytes.
// Set by the launcher: HEAD_DIM (64 or 128, = D), CONSUMERS, BLOCK_N (64, 96 or 128), STAGES, REGISTERS_LOAD,
//          REGISTERS_COMPUTE, ELEMENT_F16, IDENTITY.
// Numerics: products in the element type with f32 accumulation, exp2, weights rounded to the element type. scale > 0.
// Follows FlashAttention-3 (arXiv 2407.08608): the scores of the next tile are made while this tile's softmax runs.
#include "common.cuh"
#include "hopper.cuh"
#include "online_softmax.cuh"
#include "ring.cuh"
#include "tile_range.cuh"

constexpr int BLOCK_M = 64 * CONSUMERS;
constexpr int THREADS = 128 * (CONSUMERS + 1);
constexpr int PANELS = HEAD_DIM / 64;  // swizzled tiles side by side
constexpr int Q_BYTES = 64 * HEAD_DIM * 2;
constexpr int KEY_PANEL_BYTES = BLOCK_N * 128;
constexpr int KEY_BYTES = KEY_PANEL_BYTES * PANELS;
constexpr int SCORES = BLOCK_N / 2;  // accumulators a thread
constexpr int SUMS = HEAD_DIM / 2;
constexpr int RELEASES = CONSUMERS * 4;  // one arrival a warp

struct Shared {
  u32 q, k, v, rows, barriers, dealer, slots;  // rows: per consumer and buffer, 64 each of lo, hi, row of q
  DEVICE Shared(const void* base) {
    q = (shared_address(base) + 1023) & ~1023u;
    k = q + CONSUMERS * 2 * Q_BYTES;
    v = k + STAGES * KEY_BYTES;
    rows = v + STAGES * KEY_BYTES;
    barriers = rows + CONSUMERS * 2 * 768;
    dealer = barriers + STAGES * 32;
    slots = dealer + Dealer::BYTES;
  }
  DEVICE u32 k_full(int s) const { return barriers + s * 32; }
  DEVICE u32 k_empty(int s) const { return barriers + s * 32 + 8; }
  DEVICE u32 v_full(int s) const { return barriers + s * 32 + 16; }
  DEVICE u32 v_empty(int s) const { return barriers + s * 32 + 24; }
};

// -- producer ---------------------------------------------------------------------------------------------------------

/** Puts the turns of this block, one a call; run by one thread. */
struct Dealing {
  int item;
  DEVICE Dealing() : item(blockIdx.x) {}
  DEVICE void put(const AttentionArgs& a, const Dealer& dealer, int n) {
    const int tiles = (a.Tq + BLOCK_M - 1) / BLOCK_M, at = item;
    item = Dealer::ask(a.counter);  // wanted a turn later
    if (at >= tiles * a.H * a.B) return dealer.put_end(n);
    const int first = (tiles - 1 - at % tiles) * BLOCK_M, h = at / tiles % a.H, b = at / tiles / a.H;
    const int last = min(first + BLOCK_M, a.Tq) - 1;
    dealer.put(n, b, h, first, index_row(a.lo, b, h) + first, index_row(a.hi, b, h) + last);
  }
};

DEVICE int first_tile(const Span& s) { return s.begin / BLOCK_N * BLOCK_N; }

#if IDENTITY
/** Loads the keys and values of one turn after the other, by one warp. */
DEVICE void produce(const AttentionArgs& a, const Shared& s, const TensorMap* kMap, const TensorMap* vMap) {
  if (threadIdx.x >= 32) return;
  Ring<STAGES> ring;
  const Dealer dealer(s.dealer);
  Dealing dealing;
  if (threadIdx.x == 0)
    for (int i = 0; i < Dealer::AHEAD; ++i) dealing.put(a, dealer, i);
  __syncwarp();  // keeps the warp together for the dealer
  for (int n = 0;; ++n) {
    dealer.wait(n);
    const Turn turn = dealer.read(n);
    dealer.done(n);
    if (!turn.valid) break;
    if (threadIdx.x == 0) dealing.put(a, dealer, n + Dealer::AHEAD);
    const int hk = key_head(a, turn.h);
    for (int k0 = first_tile(turn.span); k0 < turn.span.end; k0 += BLOCK_N, ring.next()) {
      if (threadIdx.x != 0) continue;
      auto load = [&](const TensorMap* map, u32 tile, u32 full, u32 empty) {
        barrier_wait(empty, ring.parity ^ 1);
        barrier_expect(full, KEY_BYTES);
        for (int p = 0; p < PANELS; ++p)
          tensor_copy(tile + ring.stage * KEY_BYTES + p * KEY_PANEL_BYTES, map, full, p * 64, hk, k0, turn.b);
      };
      load(kMap, s.k, s.k_full(ring.stage), s.k_empty(ring.stage));
      load(vMap, s.v, s.v_full(ring.stage), s.v_empty(ring.stage));
    }
    __syncwarp();  // likewise
  }
  if (threadIdx.x == 0) Dealer::finish(a.counter);
}
#else
/** Gathers the keys and values of one turn after the other, by four warps, rows asked for some tiles before. */
DEVICE void produce(const AttentionArgs& a, const Shared& s, const TensorMap*, const TensorMap*) {
  constexpr int AHEAD = RowSlots::AHEAD;
  Ring<STAGES> ring;
  const Dealer dealer(s.dealer);
  const RowSlots slots(s.slots);
  Dealing dealing;
  if (threadIdx.x == 0)
    for (int i = 0; i < Dealer::AHEAD; ++i) dealing.put(a, dealer, i);
  __syncwarp();  // keeps the warp together for the dealer
  const bool side = uniform(threadIdx.x >= 64);  // two warps load keys, two values
  const View& from = side ? a.v : a.k;
  Gather asked[AHEAD] = {};  // tiles whose rows are on their way, the oldest first
  int tile = 0, gathered = 0;     // tiles so far: asked for, gathered
  for (int n = 0;; ++n) {
    dealer.wait(n);
    const Turn turn = dealer.read(n);
    dealer.done(n);
    if (threadIdx.x == 0 && turn.valid) dealing.put(a, dealer, n + Dealer::AHEAD);
    __syncwarp();  // likewise
    const int hk = key_head(a, turn.h);
    const int* rows = rows_of(a.kRows, turn.b, hk);
    const u32 origin = (u32)((turn.b * from.batch + hk * from.head) >> 3);
    // Without tiles, gathers what is asked for: the dealer must not wait for who waits for a tile.
    const Span span = turn.valid ? turn.span : Span();
    const int end = span.end > 0 ? span.end : AHEAD * BLOCK_N;
    for (int k0 = first_tile(span); k0 < end; k0 += BLOCK_N) {
      const Gather oldest = asked[0];
#pragma unroll
      for (int i = 1; i < AHEAD; ++i) asked[i - 1] = asked[i];
      asked[AHEAD - 1] = {origin, 0};
      if (k0 < span.end) {
        slots.ask(tile++, rows, k0, a.Tk);
        asked[AHEAD - 1].count = a.Tk - k0;
      }
      if (oldest.count == 0) continue;
      const u32 full = (side ? s.v_full(0) : s.k_full(0)) + ring.stage * 32;
      slots.wait(gathered);
      barrier_wait(full + 8, ring.parity ^ 1);
      gather_rows<BLOCK_N, 2, PANELS, KEY_PANEL_BYTES>((side ? s.v : s.k) + ring.stage * KEY_BYTES,
                                                       slots.rows(gathered++), from, oldest);
      arrive_when_copied(full);
      ring.next();
    }
    if (!turn.valid) break;
  }
  if (threadIdx.x == 0) Dealer::finish(a.counter);
}
#endif

// -- consumer ---------------------------------------------------------------------------------------------------------

/** The rows of q for a warpgroup's gather: asked for two turns ahead. */
DEVICE void ask_queries(const AttentionArgs& a, const Turn& t, int consumer, LaneRows<64, 4>& rows) {
  if (t.valid) rows.ask(rows_of(a.qRows, t.b, t.h), t.first + consumer * 64, a.Tq);
}

/** Starts loading a warpgroup's 64 queries, their intervals and rows. */
DEVICE void load_queries(const AttentionArgs& a, const Turn& item, int first, const LaneRows<64, 4>& rows,
                         u32 qTile, u32 rowTable) {
  const int thread = threadIdx.x & 127, lane = thread & 31;
  rows.gather<PANELS, 8192>(qTile, view_head<u16>(a.q, item.b, item.h), a.q.row);
  if (lane < 16) shared_store(rowTable + 512 + ((thread >> 5) * 16 + lane) * 4, rows.row[0]);
  const int r = thread & 63;
  const int* bounds = index_row(thread < 64 ? a.lo : a.hi, item.b, item.h);
  const bool valid = first + r < a.Tq;
  copy4_async(rowTable + thread * 4, bounds + (valid ? first + r : 0), valid);
  copy_commit();
}

/** tile_range of a warpgroup's 64 places, from its row table. */
DEVICE TileRange own_range(u32 rowTable, int first, int length) {
  TileRange r = {0, 0, 0x7fffffff, 0};
  const int last = min(64, length - first) - 1;
  if (last < 0) return r;
  r.begin = uniform(shared_int(rowTable));
  r.end = uniform(shared_int(rowTable + 256 + last * 4));
  if (last == 63) {
    r.fullBegin = uniform(shared_int(rowTable + last * 4));
    r.fullEnd = uniform(shared_int(rowTable + 256));
  }
  return r;
}

DEVICE void scores(float* acc, u32 qTile, u32 kTile) {
  const u64 q = row_operand(qTile), k = row_operand(kTile);
  product_fence();
#pragma unroll
  for (int i = 0; i < HEAD_DIM / 16; ++i)
    Product<BLOCK_N, 0, 0>::run(acc, q + i / 4 * (8192 >> 4) + i % 4 * ROW_STEP,
                                k + i / 4 * (KEY_PANEL_BYTES >> 4) + i % 4 * ROW_STEP, i > 0);
}

DEVICE void weigh(float* sums, const u32* weights, u32 vTile) {
  const u64 v = column_operand(vTile, KEY_PANEL_BYTES);
  product_fence();
#pragma unroll
  for (int i = 0; i < BLOCK_N / 16; ++i) Product<HEAD_DIM, 0, 1>::run(sums, weights + 4 * i, v + i * COLUMN_STEP, 1);
}

/** Passes over tiles of the block's range that this warpgroup's queries do not see. */
DEVICE void skip(const Shared& s, Ring<STAGES>& ring) {
  barrier_wait(s.k_full(ring.stage), ring.parity);
  release(s.k_empty(ring.stage));
  barrier_wait(s.v_full(ring.stage), ring.parity);
  release(s.v_empty(ring.stage));
  ring.next();
}

/** Writes o and lse of 64 places through the (no longer needed) query tile. */
DEVICE void store(const AttentionArgs& a, const Turn& item, int first, const SoftmaxRows& softmax, const float* sums,
                  u32 tile, u32 rowTable) {
  const int lane = threadIdx.x & 31, warpRow = (threadIdx.x >> 5 & 3) * 16;
  float weight[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int at = warpRow + (lane >> 2) + 8 * r;
    const bool inside = first + at < a.Tq;
    float lse = softmax.lse(r), weightBefore = 0.f;
    weight[r] = softmax.inverse(r);
    float* lseAt = view_head<float>(a.lse, item.b, item.h) + shared_int(rowTable + 512 + at * 4) * a.lse.row;
    if (a.merge) {
      float own;
      lse = merge_parts(lse, inside ? *lseAt : -INFINITE, &own, &weightBefore);
      weight[r] *= own;
    }
    __syncwarp();  // guards lse, and the lo column of the row table: all have been read
    if (inside && (lane & 3) == 0) *lseAt = lse;
    if ((lane & 3) == 0)
      shared_store(rowTable + at * 4, __float_as_uint(weightBefore));
  }
#pragma unroll
  for (int j = 0; j < HEAD_DIM / 8; j += 2) {
    u32 x[4];  // of chunks j and j + 1, the rows above and below 8
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* pair = sums + 4 * (j + i / 2) + 2 * (i & 1);
      x[i] = pack(pair[0] * weight[i & 1], pair[1] * weight[i & 1]);
    }
    store_matrices(tile + j / 8 * 8192 + swizzle(warpRow + (lane & 15), (j & 7) + (lane >> 4)), x);
  }
  __syncwarp();  // guards the warp's 16 rows of the tile: all are written
  const int chunk = lane & 7;
  u16* base = view_head<u16>(a.o, item.b, item.h);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int at = warpRow + i * 4 + (lane >> 3);
    if (first + at >= a.Tq) continue;
    u16* out = base + shared_int(rowTable + 512 + at * 4) * a.o.row + chunk * 8;
#pragma unroll
    for (int p = 0; p < PANELS; ++p) {
      uint4 x = shared_load4(tile + p * 8192 + swizzle(at, chunk));
      if (a.merge) x = add8(x, *(const uint4*)(out + p * 64), __uint_as_float(shared_int(rowTable + at * 4)));
      *(uint4*)(out + p * 64) = x;
    }
  }
}

DEVICE void consume(const AttentionArgs& a, const Shared& s, int consumer) {
  const int lane = threadIdx.x & 31, warpRow = (threadIdx.x >> 5 & 3) * 16;
  const float scaleLog2 = a.scale * LOG2_E;
  Ring<STAGES> ring;
  const Dealer dealer(s.dealer);
  auto q_tile = [&](int n) { return s.q + (consumer * 2 + (n & 1)) * Q_BYTES; };
  auto row_table = [&](int n) { return s.rows + (consumer * 2 + (n & 1)) * 768; };
  dealer.wait(0);
  Turn item = dealer.read(0);
  LaneRows<64, 4> rows;
  ask_queries(a, item, consumer, rows);
  if (item.valid) load_queries(a, item, item.first + consumer * 64, rows, q_tile(0), row_table(0));
  dealer.wait(1);
  ask_queries(a, dealer.read(1), consumer, rows);
  for (int n = 0; item.valid; ++n) {
    const int first = item.first + consumer * 64;
    const Span span = item.span;
    const u32 qTile = q_tile(n), rowTable = row_table(n);
    copy_wait<0>();
    async_fence();
    named_barrier<128>(1 + consumer);  // guards this turn's queries and row table: all have landed

    const Turn next = dealer.read(n + 1);
    if (next.valid) {
      load_queries(a, next, next.first + consumer * 64, rows, q_tile(n + 1), row_table(n + 1));
      dealer.wait(n + 2);
      ask_queries(a, dealer.read(n + 2), consumer, rows);
    }
    const TileRange own = own_range(rowTable, first, a.Tq);
    int rowLo[2], rowHi[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      rowLo[r] = shared_int(rowTable + (warpRow + (lane >> 2) + 8 * r) * 4);
      rowHi[r] = shared_int(rowTable + 256 + (warpRow + (lane >> 2) + 8 * r) * 4);
    }
    SoftmaxRows softmax;
    softmax.reset();
    float sums[SUMS];
#pragma unroll
    for (int i = 0; i < SUMS; ++i) sums[i] = 0.f;

    int k0 = first_tile(span);
    const int last = own.empty() ? k0 : own.end;
    if (!own.empty())
      for (; k0 + BLOCK_N <= own.begin; k0 += BLOCK_N) skip(s, ring);
    if (k0 < last) {
      float acc[SCORES], factor[2];
      u32 weights[SCORES / 2];
      // First tile: scores and softmax alone.
      await_tile(s.k_full(ring.stage), ring.parity);
      scores(acc, qTile, s.k + ring.stage * KEY_BYTES);
      product_commit();
      product_wait<0>();
      pin<SCORES>(acc);
      release(s.k_empty(ring.stage));
      if (!own.full(k0, k0 + BLOCK_N)) mask_scores<BLOCK_N / 8>(acc, k0 + (lane & 3) * 2, rowLo, rowHi);
      softmax.update<BLOCK_N / 8>(acc, scaleLog2, factor);
      pack_operand<BLOCK_N / 16>(weights, acc);
      // Each further tile: its scores, and the product of the tile before it, run under its softmax.
      for (k0 += BLOCK_N; k0 < last; k0 += BLOCK_N) {
        Ring<STAGES> before = ring;
        ring.next();
        if (!IDENTITY) barrier_wait(s.v_full(before.stage), before.parity);  // one fence for both
        await_tile(s.k_full(ring.stage), ring.parity);
        pin<SCORES>(acc);
        pin<SCORES / 2>(weights);
        pin<SUMS>(sums);
        scores(acc, qTile, s.k + ring.stage * KEY_BYTES);
        product_commit();
        if (IDENTITY) barrier_wait(s.v_full(before.stage), before.parity);
        weigh(sums, weights, s.v + before.stage * KEY_BYTES);
        product_commit();
        product_wait<1>();
        pin<SCORES>(acc);
        release(s.k_empty(ring.stage));
        if (!own.full(k0, k0 + BLOCK_N)) mask_scores<BLOCK_N / 8>(acc, k0 + (lane & 3) * 2, rowLo, rowHi);
        softmax.update<BLOCK_N / 8>(acc, scaleLog2, factor);
        product_wait<0>();
        pin<SUMS>(sums);
        pin<SCORES / 2>(weights);
        release(s.v_empty(before.stage));
#pragma unroll
        for (int i = 0; i < SUMS; ++i) sums[i] *= factor[i >> 1 & 1];
        pack_operand<BLOCK_N / 16>(weights, acc);
      }
      await_tile(s.v_full(ring.stage), ring.parity);
      pin<SCORES / 2>(weights);
      pin<SUMS>(sums);
      weigh(sums, weights, s.v + ring.stage * KEY_BYTES);
      product_commit();
      product_wait<0>();
      pin<SUMS>(sums);
      release(s.v_empty(ring.stage));
      ring.next();
    }
    for (; k0 < span.end; k0 += BLOCK_N) skip(s, ring);

    softmax.finish();
    named_barrier<128>(1 + consumer);  // guards the query tile: no product of this item reads it any more
    store(a, item, first, softmax, sums, qTile, rowTable);
    named_barrier<128>(1 + consumer);  // guards the query tile and the row table: read out before they are loaded again
    dealer.done(n);
    item = dealer.read(n + 1);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    attention_forward_sm90(const __grid_constant__ AttentionArgs a, const __grid_constant__ TensorMap kMap,
                           const __grid_constant__ TensorMap vMap) {
  extern __shared__ u16 memory[];
  const Shared s(memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; ++i) {
      barrier_init(s.k_full(i), IDENTITY ? 1 : 64);
      barrier_init(s.v_full(i), IDENTITY ? 1 : 64);
      barrier_init(s.k_empty(i), RELEASES);
      barrier_init(s.v_empty(i), RELEASES);
    }
    Dealer(s.dealer).init(CONSUMERS * 4 + (IDENTITY ? 1 : 4));
    if (!IDENTITY) RowSlots(s.slots).init();
    barrier_init_fence();
  }
  __syncthreads();  // guards the barriers: they are initialised
  const int warpgroup = uniform(threadIdx.x / 128);
  if (warpgroup == 0) {
    registers_shrink<REGISTERS_LOAD>();
    produce(a, s, &kMap, &vMap);
  } else {
    registers_grow<REGISTERS_COMPUTE>();
    consume(a, s, warpgroup - 1);
  }
}
