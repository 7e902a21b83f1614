// normalizeRowsBackward: with n = max(|x|, epsilon) and y = x / n, dx += (dout - y (y . dout)) / n; where |x|
// is at most epsilon the divisor is constant, and the second term falls away.
//
//   normalize_rows_backward:     D a multiple of 8 and at most 64 * CHUNKS, all rows at multiples of 16 bytes; read
//                                once.
//   normalize_rows_backward_any: any D and any pointers; read twice.
// Inputs:  x, dout [B,T,H,D], strided. Output: dx [B,T,H,D], strided; added into and rounded once.
// Grid:    ceil(B * T * H / 32) blocks of 256 threads; 8 threads own a row, in the order (b, t, h), thread n of them
//          the chunks n + i * 8 of 8 elements, or the elements n + i * 8.
// Scratch: none.
// Set by the launcher: CHUNKS (1 to 4), ELEMENT_F16.
// Numerics: float32.
#include "normalize_rows.cuh"

/** What a row's gradient needs of its sums: 1 / n, and y . dout, or 0 where the divisor is constant. */
struct RowFactors {
  float inverse, along;

  DEVICE RowFactors(float square, float product, float epsilon) {
    const float length = sqrtf(row_sum(square));
    inverse = 1.f / divisor_of(length, epsilon);
    product = row_sum(product);
    along = length > epsilon ? product * inverse : 0.f;
  }

  DEVICE float gradient(float x, float dout) const { return (dout - x * inverse * along) * inverse; }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    normalize_rows_backward(const __grid_constant__ NormalizeRowsArgs a) {
  const RowPlace place(a);
  const u16 *x = place.of(a.x), *dout = place.of(a.dout);
  u16* dx = place.of(a.dx);
  uint4 heldX[CHUNKS], heldDout[CHUNKS], heldDx[CHUNKS];
  float v[8], g[8], sum[8], square = 0.f, product = 0.f;
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    const int d = (place.thread + i * ROW_THREADS) * 8, D = place.inside ? a.D : 0;
    heldX[i] = load_chunk(x, d, D);
    heldDout[i] = load_chunk(dout, d, D);
    heldDx[i] = load_chunk(dx, d, D);
  }
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    unpack8(heldX[i], v);
    unpack8(heldDout[i], g);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      square = fmaf(v[k], v[k], square);
      product = fmaf(v[k], g[k], product);
    }
  }
  const RowFactors factors(square, product, a.epsilon);
  if (!place.inside) return;
#pragma unroll
  for (int i = 0; i < CHUNKS; ++i) {
    const int d = (place.thread + i * ROW_THREADS) * 8;
    if (d >= a.D) break;
    unpack8(heldX[i], v);
    unpack8(heldDout[i], g);
    unpack8(heldDx[i], sum);
#pragma unroll
    for (int k = 0; k < 8; ++k) sum[k] += factors.gradient(v[k], g[k]);
    *(uint4*)(dx + d) = pack8(sum);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    normalize_rows_backward_any(const __grid_constant__ NormalizeRowsArgs a) {
  const RowPlace place(a);
  const u16 *x = place.of(a.x), *dout = place.of(a.dout);
  u16* dx = place.of(a.dx);
  const int D = place.inside ? a.D : 0;
  float square = 0.f, product = 0.f;
  for (int d = place.thread; d < D; d += ROW_THREADS) {
    square = fmaf(element(x[d]), element(x[d]), square);
    product = fmaf(element(x[d]), element(dout[d]), product);
  }
  const RowFactors factors(square, product, a.epsilon);
  for (int d = place.thread; d < D; d += ROW_THREADS) {
    dx[d] = to_element(element(dx[d]) + factors.gradient(element(x[d]), element(dout[d])));
  }
}
