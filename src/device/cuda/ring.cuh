// Persistent, warp-specialised kernels: how items are dealt to blocks, and how a producer warpgroup hands tiles to
// consumers through a ring of stages in shared memory.
#pragma once
#include "common.cuh"
#include "hopper.cuh"
#include "tile_range.cuh"

/** A place in a ring of COUNT stages: `parity` flips each time round, as mbarrier phases do. */
template <int COUNT> struct Ring {
  int stage = 0, parity = 0;
  DEVICE void next() {
    if (++stage == COUNT) {
      stage = 0;
      parity ^= 1;
    }
  }
};

DEVICE int shared_int(u32 address) {
  int x;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(x) : "r"(address) : "memory");
  return x;
}
DEVICE uint4 shared_load4(u32 address) {
  uint4 x;
  asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "r"(address)
               : "memory");
  return x;
}
DEVICE void shared_store(u32 address, u32 x) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(x) : "memory");
}

/** Lets the producer reuse a stage: one arrival a warp. */
DEVICE void release(u32 barrier) {
  if ((threadIdx.x & 31) == 0) barrier_arrive(barrier);
}

/** Lets a barrier count this thread as arrived when the copies it has started so far have landed. */
DEVICE void arrive_when_copied(u32 barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

/** A turn of a persistent block: a tile of places of one head, and what they see of the other side. */
struct Turn {
  int b, h, first;
  bool valid;
  Span span;
};

/**
 * Deals turns to persistent blocks, some ahead, so that nobody waits: one producer thread asks a counter in global
 * memory for the next item, and leaves each turn's record in a slot of shared memory; every warp reads it from there. (Items
 * dealt in a fixed order instead gave some blocks a third more work than others on hashed heads.)
 */
struct Dealer {
  static constexpr int SLOTS = 8, AHEAD = 3, BYTES = SLOTS * 48;
  u32 base;

  DEVICE explicit Dealer(u32 at) : base(at) {}
  DEVICE u32 full(int n) const { return base + (n & (SLOTS - 1)) * 16; }
  DEVICE u32 empty(int n) const { return full(n) + 8; }
  DEVICE u32 record(int n) const { return base + SLOTS * 16 + (n & (SLOTS - 1)) * 32; }
  DEVICE int parity(int n) const { return n / SLOTS & 1; }

  /** readers: warps that release every turn. */
  DEVICE void init(int readers) const {
    for (int i = 0; i < SLOTS; ++i) {
      barrier_init(full(i), 2);
      barrier_init(empty(i), readers);
    }
  }

  // By the dealing thread.
  DEVICE static int ask(int* counter) { return gridDim.x + atomicAdd(counter, 1); }
  DEVICE void put(int n, int b, int h, int first, const int* begin, const int* end) const {
    barrier_wait(empty(n), parity(n) ^ 1);
    const u32 to = record(n);
    shared_store(to, 1);
    shared_store(to + 4, b);
    shared_store(to + 8, h);
    shared_store(to + 12, first);
    copy4_async(to + 16, begin, true);
    copy4_async(to + 20, end, true);
    barrier_arrive(full(n));  // for the stores
    arrive_when_copied(full(n));
  }
  DEVICE void put_end(int n) const {
    barrier_wait(empty(n), parity(n) ^ 1);
    shared_store(record(n), 0);
    barrier_arrive(full(n));
    barrier_arrive(full(n));
  }
  /** At the end: the last block sets the counter back. */
  DEVICE static void finish(int* counter) {
    __threadfence();
    if (atomicAdd(counter + 1, 1) == gridDim.x - 1) counter[0] = counter[1] = 0;
  }

  // By whole warps: wait before the first reading, release after the last.
  DEVICE void wait(int n) const { barrier_wait(full(n), parity(n)); }
  DEVICE Turn read(int n) const {
    Turn t;
    t.valid = uniform(shared_int(record(n))) != 0;
    t.b = uniform(shared_int(record(n) + 4));
    t.h = uniform(shared_int(record(n) + 8));
    t.first = uniform(shared_int(record(n) + 12));
    t.span = Span(uniform(shared_int(record(n) + 16)), uniform(shared_int(record(n) + 20)));
    return t;
  }
  DEVICE void done(int n) const {
    __syncwarp();  // guards the record: the whole warp has read it
    release(empty(n));
  }
};

DEVICE const int* rows_of(const Index& x, int b, int h) { return x.data ? index_row(x, b, h) : nullptr; }
DEVICE int key_head(const AttentionArgs& a, int h) { return (int)((i64)h * a.Hk / a.H); }

/**
 * Waits for a tile that the tensor cores read next. A gathered one was written by ordinary copies of the producer, which
 * announce it themselves as they land (arrive_when_copied). The fence is the reader's: it waits for all that its thread
 * has in flight, and a producer has copies in flight.
 */
DEVICE void await_tile(u32 barrier, int parity) {
  barrier_wait(barrier, parity);
  if (!IDENTITY) async_fence();
}

/**
 * Tables of rows on their way to a gather: SLOTS tiles of up to 128 places, asked for by a warpgroup, one place a
 * thread, AHEAD tiles before, so that the latency hides. Tiles are counted. Who asks for tile n has waited for tile
 * n - 1 - AHEAD, which all warps have asked for, and so have gathered tile n - 2 - 2 * AHEAD: its slot is free.
 */
struct RowSlots {
  static constexpr int SLOTS = 8, AHEAD = 2, BYTES = SLOTS * (128 * 4 + 8);
  static_assert(2 + 2 * AHEAD <= SLOTS, "a slot is read out before it is asked for again");
  u32 base;

  DEVICE explicit RowSlots(u32 at) : base(at) {}
  DEVICE u32 full(int n) const { return base + SLOTS * 512 + (n & (SLOTS - 1)) * 8; }
  DEVICE u32 rows(int n) const { return base + (n & (SLOTS - 1)) * 512; }
  DEVICE void init() const {
    for (int i = 0; i < SLOTS; ++i) barrier_init(full(i), 128);
  }
  /** rows: table of the head, or null where places are rows; places from `end` on do not exist, and get some row. */
  DEVICE void ask(int n, const int* rows, int first, int end) const {
    const int place = first + threadIdx.x;
    const u32 to = this->rows(n) + threadIdx.x * 4;
    if (rows) {
      copy4_async(to, rows + min(place, end - 1), true);
      arrive_when_copied(full(n));
    } else {
      shared_store(to, place);
      barrier_arrive(full(n));
    }
  }
  DEVICE void wait(int n) const { barrier_wait(full(n), n / SLOTS & 1); }
};

/** A tile to gather: where its head begins, in 16 bytes, and how many of its places exist. */
struct Gather {
  u32 origin;
  int count;
};

/**
 * Starts this warp's part of the copying of a tile of ROWS rows of 64 * PANELS features, by WARPS warps, to swizzled
 * tiles PANEL_BYTES apart; zeros beyond `count`. rows: a table in shared memory.
 */
template <int ROWS, int WARPS, int PANELS, int PANEL_BYTES>
DEVICE void gather_rows(u32 tile, u32 rows, const View& from, const Gather& g) {
  constexpr int SHARE = ROWS / WARPS, BATCH = SHARE % 32 == 0 ? 8 : 4;
  const int lane = threadIdx.x & 31, at = (threadIdx.x >> 5 & (WARPS - 1)) * SHARE + (lane >> 3);
  const char* chunk = (const char*)from.data + (u64)g.origin * 16 + (lane & 7) * 16;
  const u32 stride = (u32)from.row * 2;
  const u32 table = rows + at * 4, to = tile + swizzle(at, lane & 7);
  // Some at a time: a producer has few registers.
#pragma unroll 1
  for (int i = 0; i < SHARE; i += 4 * BATCH) {
    int row[BATCH];
#pragma unroll
    for (int j = 0; j < BATCH; ++j) row[j] = shared_int(table + (i + 4 * j) * 4);
#pragma unroll
    for (int j = 0; j < BATCH; ++j) {
      const char* source = chunk + (u64)(u32)row[j] * stride;
      // Four rows on, the swizzle turns bit 2 of the chunk.
      const u32 target = (to ^ (j & 1) * 64) + (i + 4 * j) * 128;
#pragma unroll
      for (int p = 0; p < PANELS; ++p)
        copy16_async(target + p * PANEL_BYTES, source + p * 128, at + i + 4 * j < g.count);
    }
  }
}

/**
 * The rows that a lane holds for a gather of ROWS places by WARPS warps: warp w serves places w * SHARE .., lane l
 * holds that of place l (and l + 32, ..) among them; -1 beyond `end`. Asked for a tile ahead, so that the latency hides.
 */
template <int ROWS, int WARPS> struct LaneRows {
  static constexpr int SHARE = ROWS / WARPS, COUNT = (SHARE + 31) / 32;
  int row[COUNT];

  DEVICE LaneRows() {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) row[i] = -1;
  }
  DEVICE static int first_place() { return (threadIdx.x >> 5 & (WARPS - 1)) * SHARE; }
  DEVICE void ask(const int* rows, int first, int end) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const int at = i * 32 + (threadIdx.x & 31), place = first + first_place() + at;
      row[i] = at < SHARE && place < end ? row_at(rows, place) : -1;
    }
  }
  /** Starts copying rows of 64 * PANELS features to swizzled tiles, PANEL_BYTES apart; zeros where a row is -1. */
  template <int PANELS, int PANEL_BYTES> DEVICE void gather(u32 tile, const u16* base, i64 rowStride) const {
    constexpr int BATCH = 4;  // few at a time: a producer has few registers
    const int lane = threadIdx.x & 31;
    const u32 stride = (u32)rowStride * 2;
    const char* chunk = (const char*)(base + (lane & 7) * 8);
#pragma unroll
    for (int c = 0; c < COUNT; ++c) {
      const u32 to = tile + swizzle(first_place() + c * 32 + (lane >> 3), lane & 7);
#pragma unroll 1
      for (int i = 0; i < min(SHARE - c * 32, 32); i += 4 * BATCH) {
        int r[BATCH];
#pragma unroll
        for (int j = 0; j < BATCH; ++j) r[j] = __shfl_sync(0xffffffffu, row[c], i + 4 * j + (lane >> 3));
#pragma unroll
        for (int j = 0; j < BATCH; ++j) {
          const char* from = chunk + (u64)(u32)max(r[j], 0) * stride;
          const u32 target = (to ^ (j & 1) * 64) + (i + 4 * j) * 128;  // as in gather_rows
#pragma unroll
          for (int p = 0; p < PANELS; ++p) copy16_async(target + p * PANEL_BYTES, from + p * 128, r[j] >= 0);
        }
      }
    }
  }
};
