// Staircases from data, on the device: the visit order of rows by document, group and position, and each place's
// interval, by rows and by columns. Rules as StaircaseRule (staircase.ts) states them.
//
//   staircase_documents: numbers i32 [B,Tk]: which run of equal ids a position lies in, 0, 1, 2, ...
//   staircase_order:     rows i32 [B,H,T] sorted by (group, position); last the rows that take no part, by position.
//                        starts i32 [B,H,groupCount + 1]: how many rows have a lower group.
//   staircase_order_documents: the same by (document, group, position), and blocks u32 [B,H,T]: document << 8 | group
//                        of each place that takes part.
//   staircase_identity:  rows i32 [heads,T]: each place's own number.
//   staircase_intervals: lo, hi i32 [B,H,Tq] of every query place.
//   staircase_columns:   qLo, qHi i32 [B,H,Tk] of every key place; the launcher leaves it out where the intervals
//                        have written them.
// Inputs:  documents i32 [B,Tk], groups i32 [B,T,H], strided; a group outside 0..groupCount-1, or a keep mask of 0,
//          takes the row out. Query row i stands at position i + Tk - Tq.
// Grid:    documents: x = B, orders: x = H * B, blocks of 1024 threads; a warp owns one run of positions. identity:
//          x = ceil(heads * T / 256). Others: x = ceil(T / 1024) * H * B, a thread 4 places. Key tables have Hk heads.
// Shared:  orders: 32 * buckets * 4 bytes, and 2 * T more if staged; buckets is groupCount + 1, with documents at least
//          256. intervals, columns: (groupCount + 1) * 2 * 4 bytes.
// Scratch: with documents, numbers, and blocks and spare for each order; T at most 2^24 then.
// Numerics: integers; the same result in every run.
// Method:  a stable counting sort by group, then, with documents, one by each 8 bits of the document's number, least
//          first: the cost does not depend on how long documents are.
#include "common.cuh"

struct DocumentArgs {
  const int* ids;
  i64 batch;
  int* numbers;
  int T;
};

struct OrderArgs {
  const int* groups;
  i64 batch, row, head;
  int *rows, *starts;
  const int* documents;  // numbers
  u32 *blocks, *spare;
  int H, T, Tk, groupCount;
  int keepMasks;  // 1: any group but 0 stands for group 0, and 0 takes the row out
  int staged;     // 1: shared memory holds what a head is sorted by, as 16-bit numbers
};

struct IdentityArgs {
  int* rows;
  i64 count;  // heads * T
  int T;
};

struct IntervalArgs {
  const int *qRows, *kRows;      // [B,H,Tq], [B,Hk,Tk]; null: the identity
  const int *qStarts, *kStarts;  // [B,H,groupCount+1], [B,Hk,groupCount+1]; null: all in group 0
  const u32 *qBlocks, *kBlocks;  // with documents, where there are groups
  const int* documents;          // numbers, or null
  int *lo, *hi, *qLo, *qHi;
  int H, Hk, Tq, Tk, groupCount;
  int near, far, chunk;  // far, chunk: 2^31 - 1 for no limit; near at most Tk
  int oneOrder;          // 1: queries and keys have the same order, and near is 0 or 1
  int withColumns;       // 1: that, and no documents, far or chunk: the intervals write the columns of the same places too
};

constexpr int SORT_THREADS = 1024, SORT_WARPS = 32, NO_LIMIT = 0x7fffffff;
constexpr int DIGIT_BITS = 8, DIGITS = 1 << DIGIT_BITS, MOST_BUCKETS = 257;
constexpr int ROW_BITS = 24;  // of a row in a number that also holds its group
constexpr u32 ROW_MASK = (1u << ROW_BITS) - 1;
constexpr int PLACE_THREADS = 256, PLACES = 4;  // of each thread, one after another: finding a head costs as much as one

/** Number of the leading places in begin..end-1 for which `below` holds; it never turns true again. */
template <typename Test> DEVICE int partition_point(int begin, int end, Test below) {
  while (begin < end) {
    const int middle = begin + ((end - begin) >> 1);
    if (below(middle))
      begin = middle + 1;
    else
      end = middle;
  }
  return begin;
}

// -- order ------------------------------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(SORT_THREADS)
    staircase_documents(const __grid_constant__ DocumentArgs a) {
  __shared__ int totals[SORT_WARPS];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int share = (a.T + SORT_THREADS - 1) / SORT_THREADS * 32, begin = warp * share, end = min(begin + share, a.T);
  const int* ids = a.ids + blockIdx.x * a.batch;
  int* numbers = a.numbers + (i64)blockIdx.x * a.T;
  auto begins = [&](int i) {
    const int j = i + lane;
    return __ballot_sync(0xffffffffu, j > 0 && j < end && __ldg(ids + j) != __ldg(ids + j - 1));
  };
  int count = 0;
#pragma unroll 4
  for (int i = begin; i < end; i += 32) count += __popc(begins(i));
  if (lane == 0) totals[warp] = count;
  __syncthreads();  // guards the totals: all are written
  int before = 0;
  for (int w = 0; w < warp; ++w) before += totals[w];
#pragma unroll 4
  for (int i = begin; i < end; i += 32) {
    const u32 votes = begins(i);
    if (i + lane < end) numbers[i + lane] = before + __popc(votes & ((2u << lane) - 1));
    before += __popc(votes);
  }
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

/** What a block sorts with: its shared memory. */
struct Sorter {
  int* counts;  // [SORT_WARPS][buckets]: rows of a warp in a bucket, then where its next one goes
  u16* stage;   // or null
  int* totals;  // [MOST_BUCKETS]: where each bucket begins

  /** Stable: calls emit(place, i) for i = 0 .. count - 1, places by load(i), a bucket, then i. By the whole block. */
  template <typename Load, typename Emit> DEVICE void sort(int count, int buckets, Load load, Emit emit) const {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, bits = 32 - __clz(buckets);
    const int share = (count + SORT_THREADS - 1) / SORT_THREADS * 32, begin = warp * share;
    const int end = min(begin + share, count);
    int* mine = counts + warp * buckets;
    auto bucket_at = [&](int i) { return i >= end ? buckets : stage ? stage[i] : load(i); };
    // Load: all at once, since a head's groups lie far apart.
    if (stage) {
#pragma unroll 8
      for (int i = threadIdx.x; i < count; i += SORT_THREADS) stage[i] = load(i);
    }

    // Count.
    for (int i = threadIdx.x; i < SORT_WARPS * buckets; i += SORT_THREADS) counts[i] = 0;
    __syncthreads();  // guards the counts and the stage: all are zero, or loaded
#pragma unroll 4
    for (int i = begin; i < end; i += 32) {
      const int g = bucket_at(i + lane);
      if (g < buckets) atomicAdd(mine + g, 1);
    }
    __syncthreads();  // guards the counts: all warps have counted
    scan(buckets);

    // Place.
#pragma unroll 4
    for (int i = begin; i < end; i += 32) {
      const int g = bucket_at(i + lane);
      const u32 same = same_bucket(g, bits), before = same & ((1u << lane) - 1);
      if (g < buckets) {
        const int first = mine[g];
        emit(first + __popc(before), i + lane);
        __syncwarp(same);  // guards the place: all of the bucket have read it
        if (before == 0) mine[g] = first + __popc(same);
      }
      __syncwarp();  // guards the places: this round's are written before the next reads
    }
    __syncthreads();  // guards what was emitted, and the stage: all is written, and none is read any more
  }

  /** Turns counts into places: over the warps of a bucket, then over buckets. */
  DEVICE void scan(int buckets) const {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
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
        if (g < buckets) totals[g] = before + sum - count;
        before += __shfl_sync(0xffffffffu, sum, 31);
      }
    }
    __syncthreads();  // guards the totals: all are sums now
    for (int i = threadIdx.x; i < SORT_WARPS * buckets; i += SORT_THREADS) counts[i] += totals[i % buckets];
    __syncthreads();  // guards the counts: all are places now
  }
};

/** One head of a block of the orders. */
struct OrderHead {
  Sorter sorter;
  const int* groups;
  i64 at;  // of the head's first row in tables
  DEVICE OrderHead(const OrderArgs& a, int buckets, int* counts, int* totals)
      : sorter{counts, a.staged ? (u16*)(counts + SORT_WARPS * buckets) : nullptr, totals},
        groups(a.groups + blockIdx.x / a.H * a.batch + blockIdx.x % a.H * a.head),
        at((i64)blockIdx.x * a.T) {}
  DEVICE int group_at(const OrderArgs& a, int i) const {
    const int g = __ldg(groups + i * a.row);
    if (a.keepMasks) return g ? 0 : a.groupCount;
    return g >= 0 && g < a.groupCount ? g : a.groupCount;
  }
  DEVICE void store_starts(const OrderArgs& a) const {
    const int buckets = a.groupCount + 1;
    if (threadIdx.x < buckets) a.starts[(i64)blockIdx.x * buckets + threadIdx.x] = sorter.totals[threadIdx.x];
  }
};

extern "C" __global__ void __launch_bounds__(SORT_THREADS) staircase_order(const __grid_constant__ OrderArgs a) {
  extern __shared__ int counts[];
  __shared__ int totals[MOST_BUCKETS];
  const OrderHead head(a, a.groupCount + 1, counts, totals);
  int* rows = a.rows + head.at;
  head.sorter.sort(a.T, a.groupCount + 1, [&](int i) { return head.group_at(a, i); },
                   [&](int place, int i) { rows[place] = i; });
  head.store_starts(a);
}

extern "C" __global__ void __launch_bounds__(SORT_THREADS, 1)
    staircase_order_documents(const __grid_constant__ OrderArgs a) {
  extern __shared__ int counts[];
  __shared__ int totals[MOST_BUCKETS];
  const OrderHead head(a, max(a.groupCount + 1, DIGITS), counts, totals);
  int* rows = a.rows + head.at;
  const int* documents = a.documents + (i64)(blockIdx.x / a.H) * a.Tk;
  int passes = 0;  // by document; each reads what the one before wrote, the last reads `spare` and writes `blocks`
  for (int last = __ldg(documents + a.Tk - 1); last >> passes * DIGIT_BITS; ++passes) {}
  u32* to = (passes & 1 ? a.spare : a.blocks) + head.at;

  // By group.
  head.sorter.sort(a.T, a.groupCount + 1, [&](int i) { return head.group_at(a, i); },
                   [&](int place, int i) {
                     const int g = head.group_at(a, i);
                     if (g == a.groupCount || passes == 0) rows[place] = i;
                     if (g < a.groupCount) to[place] = passes ? (u32)g << ROW_BITS | i : g;
                   });
  head.store_starts(a);
  const int taking = totals[a.groupCount];
  __syncthreads();  // guards the totals: all have been read

  // By document.
  auto document_of = [&](u32 x) { return __ldg(documents + max((int)(x & ROW_MASK) + a.Tk - a.T, 0)); };
  for (int pass = 0; pass < passes; ++pass) {
    const u32* from = to;
    to = (passes - pass & 1 ? a.blocks : a.spare) + head.at;
    auto digit_at = [&](int i) { return document_of(from[i]) >> pass * DIGIT_BITS & (DIGITS - 1); };
    head.sorter.sort(taking, DIGITS, digit_at, [&](int place, int i) {
      u32 x = from[i];
      if (pass == passes - 1) {
        rows[place] = x & ROW_MASK;
        x = (u32)document_of(x) << DIGIT_BITS | x >> ROW_BITS;
      }
      to[place] = x;
    });
  }
}

extern "C" __global__ void __launch_bounds__(256) staircase_identity(const __grid_constant__ IdentityArgs a) {
  const i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
  if (i < a.count) a.rows[i] = i % a.T;
}

// -- intervals --------------------------------------------------------------------------------------------------------

/** One head of one block, and its starts in shared memory. */
struct Head {
  int h, b, hk, first;  // first: the block's first place
  i64 at, keysAt;       // of the head's first place in tables of queries' heads, of keys' heads: in heads
  const int *qRows, *kRows, *documents;
  const u32 *qBlocks, *kBlocks;
  int *qStarts, *kStarts;

  DEVICE Head(const IntervalArgs& a, int T, int* shared) {
    constexpr int TILE = PLACES * PLACE_THREADS;
    const int tiles = (T + TILE - 1) / TILE, buckets = a.groupCount + 1;
    first = blockIdx.x % tiles * TILE;
    h = blockIdx.x / tiles % a.H;
    b = blockIdx.x / tiles / a.H;
    hk = (int)((i64)h * a.Hk / a.H);
    at = (i64)b * a.H + h;
    keysAt = (i64)b * a.Hk + hk;
    qRows = a.qRows ? a.qRows + at * a.Tq : nullptr;
    kRows = a.kRows ? a.kRows + keysAt * a.Tk : nullptr;
    qBlocks = a.qBlocks ? a.qBlocks + at * a.Tq : nullptr;
    kBlocks = a.kBlocks ? a.kBlocks + keysAt * a.Tk : nullptr;
    documents = a.documents ? a.documents + (i64)b * a.Tk : nullptr;
    qStarts = shared;
    kStarts = shared + buckets;
    for (int i = threadIdx.x; i < buckets; i += PLACE_THREADS) {
      qStarts[i] = a.qStarts ? a.qStarts[at * buckets + i] : i ? a.Tq : 0;
      kStarts[i] = a.kStarts ? a.kStarts[keysAt * buckets + i] : i ? a.Tk : 0;
    }
    __syncthreads();  // guards the starts: all are written
  }
  DEVICE int key_row(int m) const { return kRows ? __ldg(kRows + m) : m; }
  DEVICE u32 key_block(int m) const { return kBlocks ? __ldg(kBlocks + m) : (u32)__ldg(documents + m) << DIGIT_BITS; }
  DEVICE u32 query_block(int n, int position) const {
    return qBlocks ? __ldg(qBlocks + n) : (u32)__ldg(documents + max(position, 0)) << DIGIT_BITS;
  }
};

/** The group whose places include `place`; groupCount for rows that take no part. Without documents. */
DEVICE int group_of(const int* starts, int groupCount, int place) {
  return partition_point(0, groupCount + 1, [&](int g) { return starts[g] <= place; }) - 1;
}

DEVICE void store_interval(const IntervalArgs& a, const Head& head, int n) {
  const int keys = head.kStarts[a.groupCount];  // that take part
  int lo = keys, hi = keys, qLo = a.Tq, qHi = a.Tq;
  if (n < head.qStarts[a.groupCount]) {
    auto position = [&] { return (head.qRows ? __ldg(head.qRows + n) : n) + a.Tk - a.Tq; };
    // Where both sides have one order, the keys before a query in its group are those at the places before it.
    if (head.documents) {
      const int here = position(), to = here - a.near + 1, from = a.far == NO_LIMIT ? 0 : here - a.far;
      const u32 block = head.query_block(n, here);
      auto below = [&](int m, int limit) {  // whether the key at place m stands before that row of the query's block
        const u32 other = head.key_block(m);
        return other < block || (other == block && head.key_row(m) < limit);
      };
      hi = a.oneOrder ? n + 1 - a.near : partition_point(0, keys, [&](int m) { return below(m, to); });
      lo = partition_point(0, hi, [&](int m) { return below(m, from); });
    } else {
      const int g = group_of(head.qStarts, a.groupCount, n), begin = head.kStarts[g], end = head.kStarts[g + 1];
      if (a.oneOrder) {
        hi = n + 1 - a.near;
      } else {
        const int to = position() - a.near;
        hi = partition_point(begin, end, [&](int m) { return head.key_row(m) <= to; });
      }
      lo = begin;
      if (a.far != NO_LIMIT) {
        const int from = position() - a.far;
        lo = partition_point(begin, hi, [&](int m) { return head.key_row(m) < from; });
      }
      qLo = min(n + a.near, end);
      qHi = end;
    }
    if (a.chunk != NO_LIMIT && hi > lo) lo = max(lo, ((hi - 1) / a.chunk - 1) * a.chunk);
  }
  a.lo[head.at * a.Tq + n] = lo;
  a.hi[head.at * a.Tq + n] = hi;
  if (a.withColumns) {
    a.qLo[head.at * a.Tk + n] = qLo;
    a.qHi[head.at * a.Tk + n] = qHi;
  }
}

DEVICE void store_column(const IntervalArgs& a, const Head& head, int m) {
  const int *lo = a.lo + head.at * a.Tq, *hi = a.hi + head.at * a.Tq;
  int qLo = a.Tq, qHi = a.Tq;  // of a key that takes no part: it stands after all that any query sees
  if (m < head.kStarts[a.groupCount]) {
    int begin = 0, end = head.qStarts[a.groupCount];
    if (!head.documents) {
      const int g = group_of(head.kStarts, a.groupCount, m);
      begin = head.qStarts[g];
      end = head.qStarts[g + 1];
    }
    // One order again: a key at place m is seen from place m + near on.
    qLo = a.oneOrder ? min(m + a.near, end) : partition_point(begin, end, [&](int n) { return __ldg(hi + n) <= m; });
    qHi = !head.documents && a.far == NO_LIMIT && a.chunk == NO_LIMIT
              ? end
              : partition_point(qLo, end, [&](int n) { return __ldg(lo + n) <= m; });
  }
  a.qLo[head.at * a.Tk + m] = qLo;
  a.qHi[head.at * a.Tk + m] = qHi;
}

extern "C" __global__ void __launch_bounds__(PLACE_THREADS)
    staircase_intervals(const __grid_constant__ IntervalArgs a) {
  extern __shared__ int starts[];
  const Head head(a, a.Tq, starts);
#pragma unroll 1
  for (int i = 0; i < PLACES; ++i) {
    const int n = head.first + i * PLACE_THREADS + threadIdx.x;
    if (n < a.Tq) store_interval(a, head, n);
  }
}

extern "C" __global__ void __launch_bounds__(PLACE_THREADS)
    staircase_columns(const __grid_constant__ IntervalArgs a) {
  extern __shared__ int starts[];
  const Head head(a, a.Tk, starts);
#pragma unroll 1
  for (int i = 0; i < PLACES; ++i) {
    const int m = head.first + i * PLACE_THREADS + threadIdx.x;
    if (m < a.Tk) store_column(a, head, m);
  }
}
