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

/**
 * Gathered loads of a producer warpgroup. Copies are announced one step late, when they have landed, so that two
 * steps are in flight; the fence lets the tensor cores see them.
 */
struct Announcer {
  u32 owed = 0;
  /** The copies that this thread started since the last call belong to `barrier`. */
  DEVICE void step(u32 barrier) {
    copy_commit();
    if (owed) {
      copy_wait<1>();
      async_fence();
      barrier_arrive(owed);
    }
    owed = barrier;
  }
  DEVICE void finish() {
    if (!owed) return;
    copy_wait<0>();
    async_fence();
    barrier_arrive(owed);
  }
};

/**
 * Gathers ROWS rows of 64 * PANELS features to swizzled tiles, PANEL_BYTES apart, zeros beyond `end`; 128 threads take
 * part, 8 a row.
 */
template <int ROWS, int PANELS, int PANEL_BYTES>
DEVICE void gather_tile(u32 tile, const u16* base, i64 rowStride, const int* rows, int first, int end) {
  const int thread = threadIdx.x & 127, chunk = thread & 7;
#pragma unroll 4
  for (int r = thread >> 3; r < ROWS; r += 16) {
    bool valid = first + r < end;
    const u16* from = base + (valid ? row_at(rows, first + r) * rowStride : 0) + chunk * 8;
#pragma unroll
    for (int p = 0; p < PANELS; ++p) copy16_async(tile + p * PANEL_BYTES + swizzle(r, chunk), from + p * 64, valid);
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
