// keepMask: out[i] = 1 if word 0 of threefry2x32-20 with key (seed, stream) at counter (i, 0) is below the threshold.
// Inputs:  key i32 [2] (seed, stream) on the device; out i32 [size]; threshold keep * 2^32, rounded up, or keepAll.
// Grid:    x = ceil(size / (THREADS * GROUP)); a thread owns GROUP neighbours and writes them at once where aligned.
// Paper:   Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
#include "common.cuh"

constexpr int THREADS = 256, GROUP = 4;
constexpr u32 SKEIN_PARITY = 0x1bd11bdau;

struct KeepMaskArgs {
  const u32* key;
  int* out;
  i64 size;
  u32 threshold;
  int keepAll, aligned;
};

DEVICE u32 rotate(u32 x, int by) { return (x << by) | (x >> (32 - by)); }

/** Word 0 at counter (counter, 0). */
DEVICE u32 threefry_word0(u32 key0, u32 key1, u32 counter) {
  constexpr int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  const u32 schedule[3] = {key0, key1, SKEIN_PARITY ^ key0 ^ key1};
  u32 x = counter + key0, y = key1;
#pragma unroll
  for (int group = 1; group <= 5; ++group) {
#pragma unroll
    for (int round = 0; round < 4; ++round) {
      x += y;
      y = rotate(y, rotations[(group + 1) & 1][round]) ^ x;
    }
    x += schedule[group % 3];
    y += schedule[(group + 1) % 3] + group;
  }
  return x;
}

extern "C" __global__ void __launch_bounds__(THREADS) keep_mask(const __grid_constant__ KeepMaskArgs a) {
  const i64 first = ((i64)blockIdx.x * THREADS + threadIdx.x) * GROUP;
  const u32 key0 = a.key[0], key1 = a.key[1];
  int kept[GROUP];
#pragma unroll
  for (int n = 0; n < GROUP; ++n)
    kept[n] = a.keepAll || threefry_word0(key0, key1, (u32)first + n) < a.threshold ? 1 : 0;
  if (a.aligned && first + GROUP <= a.size) {
    *(int4*)(a.out + first) = make_int4(kept[0], kept[1], kept[2], kept[3]);
    return;
  }
#pragma unroll
  for (int n = 0; n < GROUP; ++n)
    if (first + n < a.size) a.out[first + n] = kept[n];
}
