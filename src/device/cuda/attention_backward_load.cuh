// The producer of attention_backward_sm90: its tiles and shared memory, how its turns are dealt, and the warpgroup that
// loads keys, values and query tiles. See attention_backward_sm90.cu for inputs, shapes and constants.
#pragma once
#include "common.cuh"
#include "hopper.cuh"
#include "ring.cuh"
#include "tile_range.cuh"

static_assert(HEAD_DIM == 64 || HEAD_DIM == 128, "panels of 64 features, as many as accumulators fit");
constexpr int BLOCK_M = 64, BLOCK_N = 128, THREADS = 384;
constexpr int PANELS = HEAD_DIM / 64;  // swizzled tiles side by side
constexpr int KEY_PANEL_BYTES = BLOCK_N * 128, QUERY_PANEL_BYTES = BLOCK_M * 128, STATS_BYTES = BLOCK_M * 8;
constexpr int KEY_BYTES = PANELS * KEY_PANEL_BYTES, QUERY_BYTES = PANELS * QUERY_PANEL_BYTES;
constexpr int KEY_BUFFERS = HEAD_DIM == 64 ? 2 : 1;  // tiles of keys and values in shared memory
constexpr int BOUNDS_BYTES = BLOCK_N * 8;
constexpr int GRADIENT_BYTES = BLOCK_N * 128;  // score gradients, or weights, [128 keys][64 queries]
constexpr int GRADIENT_TILES = 3;              // at D 128 the third holds weights
constexpr int CONSUMER_WARPS = 8, STEPS = 4;   // STEPS of 16 in a dimension of 64
constexpr int BOTH = 256;                      // threads of the two consumers
enum { BARRIER_GRADIENTS = 1, BARRIER_STORE = 2 };

struct Shared {
  u32 k, v, q, dout, gradients, weights, stats, bounds, barriers, dealer;  // bounds: per buffer 128 each of qLo, qHi
  DEVICE Shared(const void* base) {
    k = (shared_address(base) + 1023) & ~1023u;
    v = k + KEY_BUFFERS * KEY_BYTES;
    q = v + KEY_BUFFERS * KEY_BYTES;
    dout = q + STAGES * QUERY_BYTES;
    gradients = dout + STAGES * QUERY_BYTES;
    weights = gradients + 2 * GRADIENT_BYTES;
    stats = gradients + GRADIENT_TILES * GRADIENT_BYTES;
    bounds = stats + STAGES * STATS_BYTES;
    barriers = bounds + 2 * BOUNDS_BYTES;
    dealer = barriers + (STAGES + KEY_BUFFERS + 2) * 16;
  }
  DEVICE u32 full(int s) const { return barriers + s * 16; }
  DEVICE u32 empty(int s) const { return barriers + s * 16 + 8; }
  DEVICE u32 keys_full(int buffer) const { return full(STAGES + buffer); }
  DEVICE u32 keys_empty(int buffer) const { return empty(STAGES + buffer); }
  DEVICE u32 bounds_full(int buffer) const { return full(STAGES + KEY_BUFFERS + buffer); }
  DEVICE u32 bounds_empty(int buffer) const { return empty(STAGES + KEY_BUFFERS + buffer); }
};

/** Where an item's keys lie: items count rounds. `parity` is that of their arrival. */
struct KeyPlace {
  int buffer, parity;
  DEVICE explicit KeyPlace(int round) : buffer(round & (KEY_BUFFERS - 1)), parity(round >> (KEY_BUFFERS - 1) & 1) {}
};

struct Maps {
  const TensorMap *q, *k, *v, *dout, *stats;
};

// -- producer ---------------------------------------------------------------------------------------------------------

/**
 * Puts the turns of this block, one a call; run by one thread. An item is one tile of keys of one key head, the most
 * seen first in a causal head; each of its query heads is a turn.
 */
struct Dealing {
  int item;
  DEVICE Dealing() : item(blockIdx.x) {}
  DEVICE void put(const AttentionArgs& a, const Dealer& dealer, int n) {
    const int tiles = (a.Tk + BLOCK_N - 1) / BLOCK_N, group = a.H / a.Hk;
    int b, h, first;
    if (n % group == 0) {
      const int at = item;
      item = Dealer::ask(a.counter);  // wanted an item later
      if (at >= tiles * a.Hk * a.B) return dealer.put_end(n);
      first = at % tiles * BLOCK_N;
      h = at / tiles % a.Hk * group;
      b = at / tiles / a.Hk;
    } else {  // the next head of the turn before
      const u32 before = dealer.record(n - 1);
      if (shared_int(before) == 0) return dealer.put_end(n);
      b = shared_int(before + 4);
      h = shared_int(before + 8) + 1;
      first = shared_int(before + 12);
    }
    int end = min(first + BLOCK_N, a.Tk);
#if !IDENTITY
    // Beyond hi[Tq - 1] nobody sees a key, and its qHi is Tq: with it a tile would seem to be seen to the end.
    end = min(end, max(__ldg(index_row(a.hi, b, h) + a.Tq - 1), first + 1));
#endif
    const int last = end - 1;
    dealer.put(n, b, h, first, index_row(a.qLo, b, h) + first, index_row(a.qHi, b, h) + last);
  }
};

DEVICE int first_tile(const Turn& t) { return t.span.begin / BLOCK_M * BLOCK_M; }

/** Rows are asked for a step before the copies that need them. Two warps load keys and queries, two values and dout. */
typedef LaneRows<BLOCK_N, 2> KeyRows;
typedef LaneRows<BLOCK_M, 2> QueryRows;
DEVICE void ask_keys(const AttentionArgs& a, const Turn& t, KeyRows& rows) {
  if (!IDENTITY && t.valid) rows.ask(rows_of(a.kRows, t.b, key_head(a, t.h)), t.first, a.Tk);
}
DEVICE void ask_queries(const AttentionArgs& a, const Turn& t, int m0, QueryRows& rows) {
  if (!IDENTITY && t.valid) rows.ask(rows_of(a.qRows, t.b, t.h), m0, a.Tq);
}

DEVICE void load_keys(const AttentionArgs& a, const Shared& s, const Maps& maps, const Turn& t, int round,
                      const KeyRows& rows, bool side) {
  const int hk = key_head(a, t.h);
  const auto [buffer, parity] = KeyPlace(round);
  const u32 kTile = s.k + buffer * KEY_BYTES, vTile = s.v + buffer * KEY_BYTES, full = s.keys_full(buffer);
#if IDENTITY
  if (threadIdx.x == 0) {
    barrier_wait(s.keys_empty(buffer), parity ^ 1);
    barrier_expect(full, 2 * KEY_BYTES);
    for (int i = 0; i < 2 * PANELS; ++i) {  // boxes of 64 keys and 64 features
      const int feature = i / 2 * 64, first = t.first + i % 2 * 64;
      tensor_copy(kTile + i * QUERY_PANEL_BYTES, maps.k, full, feature, hk, first, t.b);
      tensor_copy(vTile + i * QUERY_PANEL_BYTES, maps.v, full, feature, hk, first, t.b);
    }
  }
#else
  barrier_wait(s.keys_empty(buffer), parity ^ 1);
  const View& from = side ? a.v : a.k;
  rows.gather<PANELS, KEY_PANEL_BYTES>(side ? vTile : kTile, view_head<u16>(from, t.b, hk), from.row);
  arrive_when_copied(full);
#endif
}

/** The queries that a key of a turn is seen by, one key a thread; none for keys that do not exist. */
struct Bounds {
  int lo, hi;
  /** Asked for a turn before it is needed. */
  DEVICE void ask(const AttentionArgs& a, const Turn& t) {
    const int place = t.first + threadIdx.x;
    const bool valid = t.valid && place < a.Tk;
    lo = valid ? __ldg(index_row(a.qLo, t.b, t.h) + place) : 0;
    hi = valid ? __ldg(index_row(a.qHi, t.b, t.h) + place) : 0;
  }
};

DEVICE void load_bounds(const Shared& s, const Bounds& bounds, int turn) {
  const int buffer = turn & 1;
  barrier_wait(s.bounds_empty(buffer), (turn >> 1 & 1) ^ 1);
  const u32 to = s.bounds + buffer * BOUNDS_BYTES + threadIdx.x * 4;
  shared_store(to, bounds.lo);
  shared_store(to + BLOCK_N * 4, bounds.hi);
  barrier_arrive(s.bounds_full(buffer));
}

DEVICE void load_queries(const AttentionArgs& a, const Shared& s, const Maps& maps, const Turn& t, int m0,
                         const QueryRows& rows, bool side, const Ring<STAGES>& ring) {
  const int qTiles = (a.Tq + BLOCK_M - 1) / BLOCK_M;
  const u32 qTile = s.q + ring.stage * QUERY_BYTES, doutTile = s.dout + ring.stage * QUERY_BYTES;
  const u32 statsAt = s.stats + ring.stage * STATS_BYTES, full = s.full(ring.stage);
  barrier_wait(s.empty(ring.stage), ring.parity ^ 1);
  if (threadIdx.x == 0) {
    barrier_expect(full, (IDENTITY ? 2 * QUERY_BYTES : 0) + STATS_BYTES);
    tensor_copy(statsAt, maps.stats, full, 0, (t.b * a.H + t.h) * qTiles + m0 / BLOCK_M, 0, 0);
#if IDENTITY
    for (int p = 0; p < PANELS; ++p) {
      tensor_copy(qTile + p * QUERY_PANEL_BYTES, maps.q, full, p * 64, t.h, m0, t.b);
      tensor_copy(doutTile + p * QUERY_PANEL_BYTES, maps.dout, full, p * 64, t.h, m0, t.b);
    }
#endif
  }
#if !IDENTITY
  const View& from = side ? a.dout : a.q;
  rows.gather<PANELS, QUERY_PANEL_BYTES>(side ? doutTile : qTile, view_head<u16>(from, t.b, t.h), from.row);
  arrive_when_copied(full);
#endif
}

DEVICE void produce(const AttentionArgs& a, const Shared& s, const Maps& maps) {
  Ring<STAGES> ring;
  const Dealer dealer(s.dealer);
  Dealing dealing;
  if (threadIdx.x == 0)
    for (int i = 0; i < Dealer::AHEAD; ++i) dealing.put(a, dealer, i);
  __syncwarp();  // keeps the warp together for the dealer
  dealer.wait(0);
  Turn turn = dealer.read(0);
  const int group = a.H / a.Hk;
  const bool side = uniform(threadIdx.x >= 64);
  KeyRows keyRows;
  QueryRows rows;
  if (KEY_BUFFERS > 1) ask_keys(a, turn, keyRows);
  ask_queries(a, turn, first_tile(turn), rows);
  Bounds bounds;
  if (KEY_BUFFERS > 1) bounds.ask(a, turn);
  int round = 0;
  for (int n = 0; turn.valid; ++n) {
    if (threadIdx.x == 0) dealing.put(a, dealer, n + Dealer::AHEAD);
    __syncwarp();  // likewise
    dealer.wait(n + 1);
    if (KEY_BUFFERS == 1) {  // the wait for the one buffer hides the latency, and registers are short
      ask_keys(a, turn, keyRows);
      bounds.ask(a, turn);
    }
    if (turn.h % group == 0) load_keys(a, s, maps, turn, round++, keyRows, side);
    load_bounds(s, bounds, n);
    const Turn next = dealer.read(n + 1);
    if (KEY_BUFFERS > 1) {
      ask_keys(a, next, keyRows);
      bounds.ask(a, next);
    }
    for (int m0 = first_tile(turn); m0 < turn.span.end; m0 += BLOCK_M, ring.next()) {
      const QueryRows here = rows;
      if (m0 + BLOCK_M < turn.span.end) {
        ask_queries(a, turn, m0 + BLOCK_M, rows);
      } else {
        const Turn next = dealer.read(n + 1);
        ask_queries(a, next, first_tile(next), rows);
      }
      load_queries(a, s, maps, turn, m0, here, side, ring);
    }
    const bool nothing = turn.span.begin >= turn.span.end;
    dealer.done(n);
    turn = dealer.read(n + 1);
    if (nothing) ask_queries(a, turn, first_tile(turn), rows);
  }
  if (threadIdx.x == 0) Dealer::finish(a.counter);
}
