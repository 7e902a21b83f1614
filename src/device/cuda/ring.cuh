// Persistent, warp-specialised kernels: how items are dealt to blocks, and how a producer warpgroup hands tiles to
// consumers through a ring of stages in shared memory.
#pragma once
#include "common.cuh"
#include "hopper.cuh"

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

/**
 * Deals items to persistent blocks through a counter in global memory, some rounds ahead, so that nobody waits for it:
 * the first producer thread asks, and every warp reads each round's item from a slot in shared memory. (Dealt in turn
 * instead, hashed heads gave some blocks a third more work than others.)
 */
struct Dealer {
  static constexpr int SLOTS = 8, AHEAD = 3, BYTES = SLOTS * 24;
  u32 base;
  int* counter;
  int held;  // the item asked for last, not yet in a slot

  DEVICE Dealer(u32 at, int* count) : base(at), counter(count) {}
  DEVICE u32 full(int n) const { return base + (n & (SLOTS - 1)) * 16; }
  DEVICE u32 empty(int n) const { return full(n) + 8; }
  DEVICE u32 slot(int n) const { return base + SLOTS * 16 + (n & (SLOTS - 1)) * 8; }
  DEVICE int parity(int n) const { return n / SLOTS & 1; }

  /** readers: warps that read every item. */
  DEVICE void init(int readers) const {
    for (int i = 0; i < SLOTS; ++i) {
      barrier_init(full(i), 1);
      barrier_init(empty(i), readers);
    }
  }
  DEVICE int ask() const { return gridDim.x + atomicAdd(counter, 1); }
  DEVICE void put(int round, int item) const {
    barrier_wait(empty(round), parity(round) ^ 1);
    shared_store(slot(round), item);
    barrier_arrive(full(round));
  }
  /** By one thread, before any round. */
  DEVICE void start() {
    put(0, blockIdx.x);
    for (int i = 1; i < AHEAD; ++i) put(i, ask());
    held = ask();
  }
  /** By the same thread, in every round. */
  DEVICE void advance(int round) {
    put(round + AHEAD, held);
    held = ask();
  }
  /** By the same thread, at the end: the last block sets the counter back. */
  DEVICE void finish() const {
    __threadfence();
    if (atomicAdd(counter + 1, 1) == gridDim.x - 1) counter[0] = counter[1] = 0;
  }
  /** By every reading warp, once a round, at most AHEAD - 1 rounds ahead of the producer's. */
  DEVICE int get(int round) const {
    barrier_wait(full(round), parity(round));
    const int item = shared_int(slot(round));
    __syncwarp();  // guards the slot: the whole warp has read it
    release(empty(round));
    return uniform(item);
  }
};

DEVICE const int* rows_of(const Index& x, int b, int h) { return x.data ? index_row(x, b, h) : nullptr; }
DEVICE int key_head(const AttentionArgs& a, int h) { return (int)((i64)h * a.Hk / a.H); }

/** Lets a barrier count this thread as arrived when the copies it has started so far have landed. */
DEVICE void arrive_when_copied(u32 barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

/** Waits for a tile. Gathered copies are ordinary writes: the fence lets the tensor cores see them. */
DEVICE void wait_tile(u32 barrier, int parity) {
  barrier_wait(barrier, parity);
#if !IDENTITY
  async_fence();
#endif
}

/**
 * The row that this lane holds for a warpgroup's gather of ROWS places: warp w serves places w * ROWS/4 .., lane l holds
 * that of place l among them; -1 beyond `end`. Asked for a tile ahead, so that its latency hides.
 */
template <int ROWS> DEVICE int lane_row(const int* rows, int first, int end) {
  constexpr int SHARE = ROWS / 4;
  const int place = first + (threadIdx.x >> 5 & 3) * SHARE + (threadIdx.x & (SHARE - 1));
  return place < end ? row_at(rows, place) : -1;
}

/** Gathers ROWS rows of 64 * PANELS features to swizzled tiles, PANEL_BYTES apart; zeros where a row is -1. */
template <int ROWS, int PANELS, int PANEL_BYTES>
DEVICE void gather_tile(u32 tile, const u16* base, i64 rowStride, int laneRow) {
  constexpr int SHARE = ROWS / 4;
  const int lane = threadIdx.x & 31, chunk = lane & 7, warpFirst = (threadIdx.x >> 5 & 3) * SHARE;
#pragma unroll
  for (int i = 0; i < SHARE; i += 4) {
    const int row = __shfl_sync(0xffffffffu, laneRow, i + (lane >> 3));
    const u16* from = base + (row >= 0 ? row * rowStride : 0) + chunk * 8;
    const u32 to = tile + swizzle(warpFirst + i + (lane >> 3), chunk);
#pragma unroll
    for (int p = 0; p < PANELS; ++p) copy16_async(to + p * PANEL_BYTES, from + p * 64, row >= 0);
  }
}
