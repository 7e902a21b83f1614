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

/**
 * The number of this block's item in a round. Items are dealt forth and back (snake order), so that shares of a list
 * that falls linearly, like the tiles of a causal head, come out even without a counter.
 */
DEVICE int dealt_item(int round) {
  return round * gridDim.x + (round & 1 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
}

DEVICE const int* rows_of(const Index& x, int b, int h) { return x.data ? index_row(x, b, h) : nullptr; }
DEVICE int key_head(const AttentionArgs& a, int h) { return (int)((i64)h * a.Hk / a.H); }

/** Lets the producer reuse a stage: one arrival a warp. */
DEVICE void release(u32 barrier) {
  if ((threadIdx.x & 31) == 0) barrier_arrive(barrier);
}

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
