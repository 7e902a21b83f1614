// Elements of every float type as f32: loads and stores of one, four or eight, and how blocks share out a long array.
// ELEMENT_F16 of common.cuh names one compute type; here the type is a template argument, for kernels that
// serve several at once.
#pragma once
#include "common.cuh"

constexpr int F32 = 0, F16 = 1, BF16 = 2;  // as `elementType` of elements.ts

#define QUIET_NAN __int_as_float(0x7fffffff)

/** Two f32 as a packed pair of TYPE, the first in the low half, rounded to nearest even. */
template <int TYPE> DEVICE u32 pack_as(float low, float high) {
  u32 r;
  if constexpr (TYPE == F16)
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

template <int TYPE> DEVICE float2 unpack_as(u32 x) {
  float2 r;
  if constexpr (TYPE == F16) {
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}" : "=f"(r.x), "=f"(r.y) : "r"(x));
  } else {
    r.x = __uint_as_float(x << 16);
    r.y = __uint_as_float(x & 0xffff0000u);
  }
  return r;
}

/** Elements at .. at + N - 1. N is 1, or 4 or 8 with their first at a multiple of its bytes, 16 at most. */
template <int TYPE, int N> DEVICE void load(const void* from, i64 at, float (&x)[N]) {
  static_assert(N == 1 || N == 4 || N == 8, "one, four or eight elements");
  if constexpr (TYPE == F32) {
    const float* p = (const float*)from + at;
    if constexpr (N == 1) {
      x[0] = *p;
    } else {
#pragma unroll
      for (int i = 0; i < N; i += 4) {
        const float4 v = *(const float4*)(p + i);
        x[i] = v.x, x[i + 1] = v.y, x[i + 2] = v.z, x[i + 3] = v.w;
      }
    }
  } else {
    const u16* p = (const u16*)from + at;
    if constexpr (N == 1) {
      x[0] = unpack_as<TYPE>(*p).x;
    } else {
      u32 words[N / 2];
      if constexpr (N == 8) {
        const uint4 v = *(const uint4*)p;
        words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
      } else {
        const uint2 v = *(const uint2*)p;
        words[0] = v.x, words[1] = v.y;
      }
#pragma unroll
      for (int i = 0; i < N; i += 2) {
        const float2 pair = unpack_as<TYPE>(words[i / 2]);
        x[i] = pair.x, x[i + 1] = pair.y;
      }
    }
  }
}

/** As `load`; rounds to nearest even. */
template <int TYPE, int N> DEVICE void store(void* to, i64 at, const float (&x)[N]) {
  static_assert(N == 1 || N == 4 || N == 8, "one, four or eight elements");
  if constexpr (TYPE == F32) {
    float* p = (float*)to + at;
    if constexpr (N == 1) {
      *p = x[0];
    } else {
#pragma unroll
      for (int i = 0; i < N; i += 4) *(float4*)(p + i) = make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
    }
  } else {
    u16* p = (u16*)to + at;
    if constexpr (N == 1) {
      *p = (u16)pack_as<TYPE>(x[0], 0.f);
    } else {
      u32 words[N / 2];
#pragma unroll
      for (int i = 0; i < N; i += 2) words[i / 2] = pack_as<TYPE>(x[i], x[i + 1]);
      if constexpr (N == 8)
        *(uint4*)p = make_uint4(words[0], words[1], words[2], words[3]);
      else
        *(uint2*)p = make_uint2(words[0], words[1]);
    }
  }
}

/**
 * Where a block's share of a long array lies, `elements` each: [first, end), and whether all of it can go by vectors.
 */
struct Share {
  i64 first, end;
  bool whole;
};

DEVICE Share share_of_block(i64 size, int elements, int aligned) {
  const i64 first = (i64)blockIdx.x * elements;
  const bool whole = size - first >= elements;
  return {first, whole ? first + elements : size, whole && aligned};
}
