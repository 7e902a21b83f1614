// Staircases from data, on the device: the visit order of rows by group, and each place's interval, by rows and by
// columns. Rules as StaircaseRule (staircase.ts) states them, without documents.
//
//   staircase_order:     rows i32 [B,H,T] sorted by (group, position), stable; starts i32 [B,H,groupCount + 1]: where
//                        each group begins, and after the last the rows that take no part. Counting sort.
//   staircase_intervals: lo, hi i32 [B,H,Tq] of every query place.
//   staircase_columns:   qLo, qHi i32 [B,H,Tk] of every key place.
// Inputs:  groups i32 [B,T,H], strided; a value outside 0..groupCount-1 takes the row out.
// Grid:    order: x = H, y = B, blocks of 1024 threads, one head each; a warp owns one run of positions. The others:
//          x = ceil(T / 256), y = H, z = B, a thread a place. Key tables have Hk heads.
// Shared:  order: 32 * (groupCount + 1) * 4 bytes, and 2 * T more if staged; the others (groupCount + 1) * 2 * 4 bytes.
// Numerics: integers; the same result in every run.
#include "common.cuh"

struct OrderArgs {
  const int* groups;
  i64 batch, row, head;
  int *rows, *starts;
  int H, T, groupCount;
  int staged;  // 1: shared memory holds all of a head's groups, as 16-bit numbers
};

struct IntervalArgs {
  const int *qRows, *kRows, *qStarts, *kStarts;  // [B,H,Tq], [B,Hk,Tk], [B,H,groupCount+1], [B,Hk,groupCount+1]
  int *lo, *hi, *qLo, *qHi;
  int H, Hk, Tq, Tk, groupCount;
  int near, far, chunk;  // far, chunk: 2^31 - 1 for no limit
};

constexpr int SORT_WARPS = 32, NO_LIMIT = 0x7fffffff;

/** Number of the leading places in begin..end-1 for which `below` holds; it never turns true again. */
template <typename Test> DEVICE int partition_point(int begin, int end, Test below) {
  while (begin < end) {
    const int middle = (begin + end) >> 1;
    if (below(middle))
      begin = middle + 1;
    else
      end = middle;
  }
  return begin;
}

/** Lanes of the warp with the same bucket, bit by bit: some votes are much faster than one match. */
DEVICE u32 same_bucket(int bucket, int bits) {
  u32 same = 0xffffffffu;
  for (int i = 0; i < bits; ++i) {
    const bool set = bucket >> i & 1;
    const u32 votes = __ballot_sync(0xffffffffu, set);
    same &= set ? votes : ~votes;
  }
  return same;
}

extern "C" __global__ void __launch_bounds__(1024) staircase_order(const __grid_constant__ OrderArgs a) {
  extern __shared__ int counts[];  // [SORT_WARPS][buckets]: rows of a warp in a bucket, then where its next one goes
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, h = blockIdx.x, b = blockIdx.y;
  const int buckets = a.groupCount + 1, bits = 32 - __clz(buckets);
  const int* groups = a.groups + b * a.batch + h * a.head;
  int* mine = counts + warp * buckets;
  const int share = (a.T + SORT_WARPS * 32 - 1) / (SORT_WARPS * 32) * 32;
  const int begin = warp * share, end = min(begin + share, a.T);
  u16* stage = (u16*)(counts + SORT_WARPS * buckets);
  auto load = [&](int i) {
    const int g = __ldg(groups + i * a.row);
    return g >= 0 && g < a.groupCount ? g : a.groupCount;
  };
  auto bucket_at = [&](int i) { return i >= end ? buckets : a.staged ? stage[i] : load(i); };
  // Load: all at once, since a head's groups lie far apart.
  if (a.staged) {
#pragma unroll 8
    for (int i = threadIdx.x; i < a.T; i += 1024) stage[i] = load(i);
  }

  // Count.
  for (int i = threadIdx.x; i < SORT_WARPS * buckets; i += 1024) counts[i] = 0;
  __syncthreads();  // guards the counts and the stage: all are zero, or loaded
#pragma unroll 4
  for (int i = begin; i < end; i += 32) {
    const int g = bucket_at(i + lane);
    const u32 same = same_bucket(g, bits);
    if (g < buckets && (same & ((1u << lane) - 1)) == 0) mine[g] += __popc(same);
    __syncwarp();  // guards the counts: this round's are written before the next reads
  }
  __syncthreads();  // guards the counts: all warps have counted

  // Scan: over the warps of a bucket, then over buckets.
  __shared__ int totals[257];
  if (threadIdx.x < buckets) {
    int sum = 0;
    for (int w = 0; w < SORT_WARPS; ++w) {
      const int count = counts[w * buckets + threadIdx.x];
      counts[w * buckets + threadIdx.x] = sum;
      sum += count;
    }
    totals[threadIdx.x] = sum;
  }
  __syncthreads();  // guards the totals: all are written
  if (warp == 0) {
    int before = 0;
    for (int g = lane; g - lane < buckets; g += 32) {
      const int count = g < buckets ? totals[g] : 0;
      int sum = count;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, sum, step);
        if (lane >= step) sum += other;
      }
      if (g < buckets) {
        totals[g] = before + sum - count;
        a.starts[((i64)b * a.H + h) * buckets + g] = before + sum - count;
      }
      before += __shfl_sync(0xffffffffu, sum, 31);
    }
  }
  __syncthreads();  // guards the totals: all are sums now
  for (int i = threadIdx.x; i < SORT_WARPS * buckets; i += 1024) counts[i] += totals[i % buckets];
  __syncthreads();  // guards the counts: all are places now

  // Place.
  int* rows = a.rows + ((i64)b * a.H + h) * a.T;
#pragma unroll 4
  for (int i = begin; i < end; i += 32) {
    const int g = bucket_at(i + lane);
    const u32 same = same_bucket(g, bits), before = same & ((1u << lane) - 1);
    if (g < buckets) {
      const int first = mine[g];
      rows[first + __popc(before)] = i + lane;
      __syncwarp(same);  // guards the place: all of the bucket have read it
      if (before == 0) mine[g] = first + __popc(same);
    }
    __syncwarp();  // guards the places: this round's are written before the next reads
  }
}

/** Copies both sides' starts of a head to shared memory. */
DEVICE void load_starts(const IntervalArgs& a, int b, int h, int hk, int* qStarts, int* kStarts) {
  const int buckets = a.groupCount + 1;
  for (int i = threadIdx.x; i < buckets; i += 256) {
    qStarts[i] = a.qStarts[((i64)b * a.H + h) * buckets + i];
    kStarts[i] = a.kStarts[((i64)b * a.Hk + hk) * buckets + i];
  }
  __syncthreads();  // guards the starts: all are written
}

/** The group whose places include `place`; groupCount for rows that take no part. */
DEVICE int group_of(const int* starts, int groupCount, int place) {
  return partition_point(0, groupCount + 1, [&](int g) { return starts[g] <= place; }) - 1;
}

/** Whether intervals follow from places alone. */
DEVICE bool one_order(const IntervalArgs& a) { return a.qRows == a.kRows && a.Tq == a.Tk && a.near <= 1; }

extern "C" __global__ void __launch_bounds__(256) staircase_intervals(const __grid_constant__ IntervalArgs a) {
  extern __shared__ int starts[];
  int *qStarts = starts, *kStarts = starts + a.groupCount + 1;
  const int h = blockIdx.y, b = blockIdx.z, hk = (int)((i64)h * a.Hk / a.H);
  load_starts(a, b, h, hk, qStarts, kStarts);
  const int n = blockIdx.x * 256 + threadIdx.x;
  if (n >= a.Tq) return;
  const i64 at = ((i64)b * a.H + h) * a.Tq + n;
  const int* kRows = a.kRows + ((i64)b * a.Hk + hk) * a.Tk;
  const int g = group_of(qStarts, a.groupCount, n);
  int lo = kStarts[a.groupCount], hi = lo;
  if (g < a.groupCount) {
    const int position = a.qRows[at] + a.Tk - a.Tq, begin = kStarts[g], end = kStarts[g + 1];
    // One order for both sides: the keys before a query in its group are those at the places before it.
    hi = one_order(a) ? n + 1 - a.near
                      : partition_point(begin, end, [&](int m) { return __ldg(kRows + m) <= position - a.near; });
    lo = begin;
    if (a.far != NO_LIMIT) lo = partition_point(begin, hi, [&](int m) { return __ldg(kRows + m) < position - a.far; });
    if (a.chunk != NO_LIMIT && hi > lo) lo = max(lo, ((hi - 1) / a.chunk - 1) * a.chunk);
  }
  a.lo[at] = lo;
  a.hi[at] = hi;
}

extern "C" __global__ void __launch_bounds__(256) staircase_columns(const __grid_constant__ IntervalArgs a) {
  extern __shared__ int starts[];
  int *qStarts = starts, *kStarts = starts + a.groupCount + 1;
  const int h = blockIdx.y, b = blockIdx.z, hk = (int)((i64)h * a.Hk / a.H);
  load_starts(a, b, h, hk, qStarts, kStarts);
  const int m = blockIdx.x * 256 + threadIdx.x;
  if (m >= a.Tk) return;
  const i64 head = (i64)b * a.H + h;
  const int *lo = a.lo + head * a.Tq, *hi = a.hi + head * a.Tq;
  const int g = group_of(kStarts, a.groupCount, m);
  // A key that takes no part stands after all that any query sees.
  const int begin = qStarts[g], end = g < a.groupCount ? qStarts[g + 1] : begin;
  // One order again: a key at place m is seen from place m + near on.
  const int qLo = one_order(a) ? min(m + a.near, end)
                               : partition_point(begin, end, [&](int n) { return __ldg(hi + n) <= m; });
  a.qLo[head * a.Tk + m] = qLo;
  a.qHi[head * a.Tk + m] = a.far == NO_LIMIT && a.chunk == NO_LIMIT
                               ? end
                               : partition_point(qLo, end, [&](int n) { return __ldg(lo + n) <= m; });
}
