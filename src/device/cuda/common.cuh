// What every attention kernel shares: element type, arguments, and small device helpers. No host code and no library
// headers, so that NVRTC compiles it from strings alone.
//
// Constants set by the launcher: ELEMENT_F16 (1: half precision, 0: bfloat16), IDENTITY (1: visit order is the
// identity, qRows and kRows are null).
#pragma once

#ifndef ELEMENT_F16
#define ELEMENT_F16 0
#endif
#ifndef IDENTITY
#define IDENTITY 0
#endif

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define DEVICE __device__ __forceinline__

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;
#define INFINITE __int_as_float(0x7f800000)

/** A tensor [B, T, H, D] (or [B, T, H] for lse and delta) with strides in elements; D is contiguous. */
struct View {
  void* data;
  i64 batch, row, head;
};

/** An i32 table [B|1, H|1, T]; a stride of 0 stands for a dimension of 1. */
struct Index {
  const int* data;
  int batch, head;
};

/** The arguments of every attention kernel; 64-bit fields first in each part, so that launchers pack it plainly. */
struct AttentionArgs {
  View q, k, v, o, dout, dq, dk, dv;
  View lse, delta;  // f32, row stride in elements
  Index qRows, kRows, lo, hi, qLo, qHi;
  float* dqSum;  // f32 scratch of the sm_90a backward, see attention_backward_sm90.cu
  float* stats;  // f32 scratch of the sm_90a backward
  int* counter;  // 2 numbers, zero before and after every launch of a persistent kernel
  int B, H, Hk, Tq, Tk, D;
  float scale;
  int merge, accumulateQ, accumulateKV;
};

DEVICE const int* index_row(const Index& x, int b, int h) {
  return x.data + (i64)b * x.batch + (i64)h * x.head;
}

/** Row of q at a place: through the table, or the place itself. */
DEVICE int row_at(const int* rows, int place) {
#if IDENTITY
  return place;
#else
  return rows ? __ldg(rows + place) : place;
#endif
}

template <typename T> DEVICE T* view_head(const View& x, int b, int h) {
  return (T*)x.data + b * x.batch + h * x.head;
}

// -- element type -----------------------------------------------------------------------------------------------------

/** Two f32 as a packed pair, the first in the low half, rounded to nearest even. */
DEVICE u32 pack(float low, float high) {
  u32 r;
#if ELEMENT_F16
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
#else
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
#endif
  return r;
}

DEVICE float2 unpack(u32 x) {
  float2 r;
#if ELEMENT_F16
  asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}" : "=f"(r.x), "=f"(r.y) : "r"(x));
#else
  r.x = __uint_as_float(x << 16);
  r.y = __uint_as_float(x & 0xffff0000u);
#endif
  return r;
}

/** x + factor * y of eight packed elements, in f32 and rounded once. */
DEVICE uint4 add8(uint4 x, uint4 y, float factor = 1.f) {
  uint4 r;
  const u32* a = &x.x;
  const u32* b = &y.x;
  u32* out = &r.x;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float2 p = unpack(a[i]), s = unpack(b[i]);
    out[i] = pack(fmaf(factor, s.x, p.x), fmaf(factor, s.y, p.y));
  }
  return r;
}

DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// -- memory -----------------------------------------------------------------------------------------------------------

DEVICE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

/** Starts a copy of 16 bytes to shared memory, or fills them with zeros. */
DEVICE void copy16_async(u32 to, const void* from, bool valid) {
  int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

DEVICE void copy4_async(u32 to, const void* from, bool valid) {
  int bytes = valid ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int PENDING> DEVICE void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory"); }

/** A value that all of the warp have, made plain to the compiler. */
DEVICE int uniform(int x) { return __shfl_sync(0xffffffffu, x, 0); }

DEVICE float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

DEVICE float quad_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
