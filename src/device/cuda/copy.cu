// copy: out = x, both strided, any dtype.
// Inputs:  x and out as addresses and byte strides over up to 4 outer dimensions; rows of `units` UNITs are contiguous.
// Grid:    x = ceil(rows * units / (THREADS * LOADS)), rows the product of the sizes, below 2^31; a thread owns LOADS
//          units, THREADS apart.
// Set by the launcher: UNIT_BYTES (2, 4, 8 or 16), which divides every stride, both addresses and the rows.
#include "common.cuh"

constexpr int THREADS = 256, LOADS = 4, RANK = 4;

template <int BYTES> struct UnitOf;
template <> struct UnitOf<2> { typedef u16 type; };
template <> struct UnitOf<4> { typedef u32 type; };
template <> struct UnitOf<8> { typedef uint2 type; };
template <> struct UnitOf<16> { typedef uint4 type; };
typedef UnitOf<UNIT_BYTES>::type Unit;

struct CopyArgs {
  const char* x;
  char* out;
  i64 xStrides[RANK], outStrides[RANK];  // in bytes
  i64 units;                             // of a row
  u32 sizes[RANK];                       // leading ones where there are fewer dimensions
  u32 rows;
};

extern "C" __global__ void __launch_bounds__(THREADS) copy(const __grid_constant__ CopyArgs a) {
  // One division of 64 bits a thread; what follows needs 32.
  const i64 first = (i64)blockIdx.x * (THREADS * LOADS);
  const i64 firstRow = first / a.units, firstUnit = first - firstRow * a.units;
  Unit values[LOADS];
  char* targets[LOADS];
#pragma unroll
  for (int n = 0; n < LOADS; ++n) {
    const u32 ahead = n * THREADS + threadIdx.x;
    i64 unit = firstUnit + ahead, row = firstRow;
    if (unit >= a.units) {
      // Then a row is either short, or ends within this block's reach.
      const u32 behind = a.units < 0x40000000 ? (u32)unit / (u32)a.units : 1;
      row += behind;
      unit -= behind * a.units;
    }
    targets[n] = nullptr;
    if (row >= a.rows) continue;
    i64 from = unit * UNIT_BYTES, to = from;
    u32 rest = (u32)row;
#pragma unroll
    for (int axis = RANK - 1; axis >= 0; --axis) {
      if (rest == 0) break;
      const u32 size = a.sizes[axis], next = rest / size, index = rest - next * size;
      from += index * a.xStrides[axis];
      to += index * a.outStrides[axis];
      rest = next;
    }
    values[n] = *(const Unit*)(a.x + from);
    targets[n] = a.out + to;
  }
#pragma unroll
  for (int n = 0; n < LOADS; ++n)
    if (targets[n]) *(Unit*)targets[n] = values[n];
}
