// embed: out[b,t] = tokenTable[tokens[b,t]] + positionTable[firstPosition + t]; NaN rows for tokens out of range.
// Inputs:  tokens i32 [B,T]; tokenTable [V,C]; positions [T,C], the position table from firstPosition on, or null.
//          Output: out [B,T,C].
// Grid:    x = ceil(B * T / ROWS), y = ceil(C / (32 * WIDTH * GROUPS)); a warp owns GROUPS times 32 * WIDTH columns of
//          a row.
// Set by the launcher: ELEMENT_F16, WIDTH (elements that a lane loads at once: 8 where rows are aligned to 16 bytes,
//          or 1).
// Numerics: sums in f32, rounded once.
#include "elements.cuh"

constexpr int ROWS = 8, THREADS = 32 * ROWS, GROUPS = 3;
constexpr int ELEMENT = ELEMENT_F16 ? F16 : BF16;

struct EmbedArgs {
  const int* tokens;
  const void *tokenTable, *positions;
  void* out;
  int rows, T, V, C;
};

extern "C" __global__ void __launch_bounds__(THREADS) embed(const __grid_constant__ EmbedArgs a) {
  const u32 n = blockIdx.x * ROWS + threadIdx.x / 32;
  if (n >= a.rows) return;
  const u32 token = (u32)a.tokens[n];
  const bool valid = token < (u32)a.V;
  const i64 target = (i64)n * a.C, source = (i64)(valid ? token : 0) * a.C, position = (i64)(n % a.T) * a.C;
  const int first = (blockIdx.y * GROUPS * 32 + threadIdx.x % 32) * WIDTH;
  float x[GROUPS][WIDTH], p[GROUPS][WIDTH] = {};
#pragma unroll
  for (int g = 0; g < GROUPS; ++g) {
    const int c = first + g * 32 * WIDTH;
    if (c >= a.C || !valid) continue;
    load<ELEMENT>(a.tokenTable, source + c, x[g]);
    if (a.positions) load<ELEMENT>(a.positions, position + c, p[g]);
  }
#pragma unroll
  for (int g = 0; g < GROUPS; ++g) {
    const int c = first + g * 32 * WIDTH;
    if (c >= a.C) continue;
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) x[g][i] = valid ? x[g][i] + p[g][i] : QUIET_NAN;
    store<ELEMENT>(a.out, target + c, x[g]);
  }
}
