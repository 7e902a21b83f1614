// sm_90a building blocks: mbarriers, bulk tensor copies, warpgroup products (wgmma), register reallocation.
//
// Tiles in shared memory are [rows][64 elements] = 128 bytes a row, 16-byte chunks swizzled by chunk ^ (row & 7), each
// tile aligned to 1024 bytes: what wgmma and TMA call the 128-byte swizzle. A head dimension of 128 is two such tiles.
#pragma once
#include "common.cuh"

struct __align__(64) TensorMap {
  u64 opaque[16];
};

DEVICE u32 swizzle(u32 row, u32 chunk) { return row * 128 + ((chunk ^ (row & 7)) << 4); }

// -- mbarrier ---------------------------------------------------------------------------------------------------------

DEVICE void barrier_init(u32 barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
DEVICE void barrier_arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
DEVICE void barrier_expect(u32 barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
DEVICE void barrier_wait(u32 barrier, int parity) {
  asm volatile(
      "{.reg .pred done;\n"
      "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;}\n" ::"r"(barrier), "r"(parity) : "memory");
}
/** Makes mbarrier_init visible to the copy engine. */
DEVICE void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
/** Orders this thread's plain writes to shared memory before what the tensor cores or the copy engine read next. */
DEVICE void async_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

template <int THREADS> DEVICE void named_barrier(int id) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(THREADS) : "memory");
}

template <int COUNT> DEVICE void registers_grow() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT)); }
template <int COUNT> DEVICE void registers_shrink() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT)); }

/** Stores four 8 x 8 matrices in the layout of accumulators; a lane gives the address of one of their rows. */
DEVICE void store_matrices(u32 to, const u32* x) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(x[0]), "r"(x[1]),
               "r"(x[2]), "r"(x[3]) : "memory");
}

// -- bulk copies ------------------------------------------------------------------------------------------------------

/** Copies the box at (feature, head, position, batch) of a tensor map over [B,T,H,D] to a swizzled tile. */
DEVICE void tensor_copy(u32 to, const TensorMap* map, u32 barrier, int feature, int head, int position, int batch) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::
          "r"(to), "l"(map), "r"(barrier), "r"(feature), "r"(head), "r"(position), "r"(batch) : "memory");
}

/** Adds four f32 to global memory, no value back. */
DEVICE void reduce_add4(float* to, float x, float y, float z, float w) {
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(x), "f"(y), "f"(z), "f"(w)
               : "memory");
}

// -- warpgroup products -----------------------------------------------------------------------------------------------

/** Operand whose features (the summed dimension) are contiguous: rows of 128 bytes, 8-row groups 1024 bytes apart. */
DEVICE u64 row_operand(u32 address) {
  return (u64)((address & 0x3ffff) >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}
/**
 * Operand whose summed dimension runs down the rows: 64 contiguous elements a block, blocks `blockBytes` apart, 8-row
 * groups 1024 bytes apart.
 */
DEVICE u64 column_operand(u32 address, u32 blockBytes) {
  return (u64)((address & 0x3ffff) >> 4) | (u64)(blockBytes >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}
/** Steps of 16 in the summed dimension, in descriptor units. */
constexpr u64 ROW_STEP = 32 >> 4, COLUMN_STEP = 2048 >> 4;

DEVICE void product_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void product_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int PENDING> DEVICE void product_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}
/** Keeps the compiler from moving uses of accumulators across a wait. */
template <int COUNT> DEVICE void pin(float* x) {
#pragma unroll
  for (int i = 0; i < COUNT; ++i) asm volatile("" : "+f"(x[i])::"memory");
}
template <int COUNT> DEVICE void pin(u32* x) {
#pragma unroll
  for (int i = 0; i < COUNT; ++i) asm volatile("" : "+r"(x[i])::"memory");
}

#if ELEMENT_F16
#define WGMMA_TYPES "f32.f16.f16"
#else
#define WGMMA_TYPES "f32.bf16.bf16"
#endif
#define ACC8(d, i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define ACC32(d, i) ACC8(d, i), ACC8(d, i + 8), ACC8(d, i + 16), ACC8(d, i + 24)
#define NAMES16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define NAMES32 \
  NAMES16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define NAMES48 NAMES32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define NAMES64 \
  NAMES48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57," \
          "%58,%59,%60,%61,%62,%63"

/**
 * acc [64 x N] (+)= a [64 x 16] b [16 x N], both from shared memory. TURN_A, TURN_B: 1 for a column_operand.
 * `add` false overwrites acc.
 */
template <int N, int TURN_A, int TURN_B> struct Product;

template <int TURN_A, int TURN_B> struct Product<32, TURN_A, TURN_B> {
  static DEVICE void run(float* d, u64 a, u64 b, int add) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %18, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n32k16." WGMMA_TYPES " {" NAMES16 "}, %16, %17, p, 1, 1, %19, %20;}\n"
                 : ACC8(d, 0), ACC8(d, 8) : "l"(a), "l"(b), "r"(add), "n"(TURN_A), "n"(TURN_B));
  }
};

template <int TURN_A, int TURN_B> struct Product<64, TURN_A, TURN_B> {
  static DEVICE void run(float* d, u64 a, u64 b, int add) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %34, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16." WGMMA_TYPES " {" NAMES32 "}, %32, %33, p, 1, 1, %35, %36;}\n"
                 : ACC32(d, 0) : "l"(a), "l"(b), "r"(add), "n"(TURN_A), "n"(TURN_B));
  }
  static DEVICE void run(float* d, const u32* a, u64 b, int add) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16." WGMMA_TYPES
                 " {" NAMES32 "}, {%32,%33,%34,%35}, %36, p, 1, 1, %38;}\n"
                 : ACC32(d, 0) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(TURN_B));
  }
};

template <int TURN_A, int TURN_B> struct Product<96, TURN_A, TURN_B> {
  static DEVICE void run(float* d, u64 a, u64 b, int add) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %50, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n96k16." WGMMA_TYPES " {" NAMES48 "}, %48, %49, p, 1, 1, %51, %52;}\n"
                 : ACC32(d, 0), ACC8(d, 32), ACC8(d, 40) : "l"(a), "l"(b), "r"(add), "n"(TURN_A), "n"(TURN_B));
  }
};

template <int TURN_A, int TURN_B> struct Product<128, TURN_A, TURN_B> {
  static DEVICE void run(float* d, u64 a, u64 b, int add) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16." WGMMA_TYPES " {" NAMES64 "}, %64, %65, p, 1, 1, %67, %68;}\n"
                 : ACC32(d, 0), ACC32(d, 32) : "l"(a), "l"(b), "r"(add), "n"(TURN_A), "n"(TURN_B));
  }
  static DEVICE void run(float* d, const u32* a, u64 b, int add) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %69, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16." WGMMA_TYPES
                 " {" NAMES64 "}, {%64,%65,%66,%67}, %68, p, 1, 1, %70;}\n"
                 : ACC32(d, 0), ACC32(d, 32)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(TURN_B));
  }
};

/** Packs accumulators [64 x 16*STEPS] as the register operands of STEPS products. */
template <int STEPS> DEVICE void pack_operand(u32* out, const float* acc) {
#pragma unroll
  for (int i = 0; i < 4 * STEPS; ++i) out[i] = pack(acc[2 * i], acc[2 * i + 1]);
}
