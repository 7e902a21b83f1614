// rope: feature i of each head turns with feature i + D/2, by (firstPosition + t) * base^(-2i/D).
// Inputs:  x [B,T,H,D], strided; turns: for each of `pairs` pairs from `firstPair` on, the turn of one step as a
//          fraction of a whole turn, times 2^64. Output: out [B,T,H,D], strided; out may be x.
// Grid:    x = ceil(B * T * pairs / WIDTH / THREADS), y = ceil(H / HEADS); a thread owns WIDTH pairs of HEADS heads of
//          a row, which share the angles.
// Set by the launcher: ELEMENT_F16, WIDTH (8 where halves of rows are aligned to 16 bytes, or 1).
// Numerics: turns in fixed point: position times turn wraps round as angles do, so that no digit is lost however far
//          the position; sine, cosine and x in f32.
// Paper:   Su et al., RoFormer, arXiv 2104.09864.
#include "elements.cuh"

constexpr int THREADS = 256, HEADS = 4, MAX_PAIRS = 128;
constexpr int ELEMENT = ELEMENT_F16 ? F16 : BF16;

struct RopeArgs {
  View x, out;
  u64 turns[MAX_PAIRS];
  int rows, T, H, half, firstPair, pairs, firstPosition;
};

DEVICE i64 row_start(const View& x, int b, int t, int h) { return b * x.batch + t * x.row + h * x.head; }

extern "C" __global__ void __launch_bounds__(THREADS) rope(const __grid_constant__ RopeArgs a) {
  const i64 place = (i64)blockIdx.x * THREADS + threadIdx.x;
  const int perRow = a.pairs / WIDTH, row = (int)(place / perRow), first = (int)(place - (i64)row * perRow) * WIDTH;
  if (row >= a.rows) return;
  const int b = row / a.T, t = row - b * a.T, firstHead = blockIdx.y * HEADS;
  const int lowAt = a.firstPair + first, highAt = lowAt + a.half;
  float low[HEADS][WIDTH], high[HEADS][WIDTH];
#pragma unroll
  for (int n = 0; n < HEADS; ++n) {
    if (firstHead + n >= a.H) break;
    const i64 start = row_start(a.x, b, t, firstHead + n);
    load<ELEMENT>(a.x.data, start + lowAt, low[n]);
    load<ELEMENT>(a.x.data, start + highAt, high[n]);
  }
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) {
    const u64 turn = (u64)(u32)(a.firstPosition + t) * a.turns[first + i];
    float sine, cosine;
    // The upper half as a signed number: -1/2 .. 1/2 of a turn, times 2^32; sincospi takes half turns.
    sincospif((float)(int)(turn >> 32) * (1.f / 2147483648.f), &sine, &cosine);
#pragma unroll
    for (int n = 0; n < HEADS; ++n) {
      const float x = low[n][i], y = high[n][i];
      low[n][i] = x * cosine - y * sine;
      high[n][i] = y * cosine + x * sine;
    }
  }
#pragma unroll
  for (int n = 0; n < HEADS; ++n) {
    if (firstHead + n >= a.H) break;
    const i64 start = row_start(a.out, b, t, firstHead + n);
    store<ELEMENT>(a.out.data, start + lowAt, low[n]);
    store<ELEMENT>(a.out.data, start + highAt, high[n]);
  }
}
