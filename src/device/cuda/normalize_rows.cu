// normalizeRows: out = x / max(|x|, epsilon) over rows of D elements.
//
//   normalize_rows:     D a multiple of 8 and at most 64 * CHUNKS, all rows at multiples of 16 bytes; read once.
//   normalize_rows_any: any D and any pointers; read twice.
// Inputs:  x [B,T,H,D], strided. Output: out [B,T,H,D], strided (may be x).
// Grid:    ceil(B * T * H / 32) blocks of 256 threads; 8 threads own a row, in the order (b, t, h), thread n of them
//          the chunks n + i * 8 of 8 elements, or the elements n + i * 8.
// Scratch: none.
// Set by the launcher: CHUNKS (1 to 4), ELEMENT_F16.
// Numerics: float32.
#include "normalize_rows.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) normalize_rows(const __grid_constant__ NormalizeRowsArgs a) {
  const RowPlace place(a);
  const u16* x = place.of(a.x);
  uint4 held[CHUNKS];
  float v[8], square = 0.f;
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    held[i] = place.inside ? load_chunk(x, (place.thread + i * ROW_THREADS) * 8, a.D) : make_uint4(0, 0, 0, 0);
  }
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    unpack8(held[i], v);
#pragma unroll
    for (int k = 0; k < 8; ++k) square = fmaf(v[k], v[k], square);
  }
  const float inverse = 1.f / divisor_of(sqrtf(row_sum(square)), a.epsilon);
  if (!place.inside) return;
  u16* out = place.of(a.out);
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    const int d = (place.thread + i * ROW_THREADS) * 8;
    if (d >= a.D) break;
    unpack8(held[i], v);
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] *= inverse;
    *(uint4*)(out + d) = pack8(v);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS) normalize_rows_any(const __grid_constant__ NormalizeRowsArgs a) {
  const RowPlace place(a);
  const u16* x = place.of(a.x);
  const int D = place.inside ? a.D : 0;
  float square = 0.f;
  for (int d = place.thread; d < D; d += ROW_THREADS) square = fmaf(element(x[d]), element(x[d]), square);
  const float inverse = 1.f / divisor_of(sqrtf(row_sum(square)), a.epsilon);
  u16* out = place.of(a.out);
  for (int d = place.thread; d < D; d += ROW_THREADS) out[d] = to_element(element(x[d]) * inverse);
}
