// Angular hashing by standardised projections: each is taken relative to the mean and deviation that it has had over the
// rows of its (b, h) up to this one, so that buckets stay even where rows share a mean. One pass over x: a block takes the
// next chunk of rows in turn, publishes its moments, and waits for those of the chunks before it.
//
// Input:  x [B,T,H,D] strided, bfloat16 or half; rotations f32 [H,D,BUCKETS/2]; moments f32 [B,H,BUCKETS/2,2]: mean and sum
//         of squared deviations of the firstPosition rows before, if there are any; base [B,T,baseHeads,D] strided: whose
//         moments they are, x itself or, if RELATIVE, another, of which head h * baseHeads / H counts for head h. Output: out i32 [B,T,H], contiguous;
//         moments up to the last row.
// Grid:   x = ceil(T / CHUNK_ROWS) * B * H; blocks of THREADS threads. Who has turn n owns chunk n / (B * H) of head
//         n % (B * H). Turns are drawn when a block starts, so those that it waits for have started before it.
// Shared: max(PART_BYTES, THREADS * 8) + RUNS * RUN_STRIDE * 4 bytes, the latter twice if RELATIVE.
// Scratch: signals, 1 + chunks * B * H numbers; records, chunks * B * H * BUCKETS / 2 pairs.
// Set by the launcher: HEAD_DIM, BUCKETS, ELEMENT_F16, as lsh_projection.cuh says, and its numerics; RELATIVE.
// Numerics: f32. Moments of a run by two passes over it, of runs and chunks by merging in their order (Chan, Golub and
//         LeVeque, 1979), of single rows by Welford (Technometrics 4, 1962): the same bits in every run, and no
//         cancellation where the mean is large.
// Follows Reformer (arXiv 2001.04451); turns as in single-pass scans (Merrill and Garland, NVR-2016-002).
#include "lsh_projection.cuh"
#ifndef RELATIVE
#define RELATIVE 0
#endif

constexpr int RUN = 32;                  // rows that one thread walks, for one column
constexpr int RUNS = THREADS / COLUMNS / (1 + RELATIVE);  // of a chunk; fewer where two projections share the memory
constexpr int CHUNK_ROWS = RUN * RUNS;
constexpr int STRIDE = COLUMNS + (COLUMNS % 16 ? 0 : 8);  // odd multiples of 8: stores of accumulators meet no bank twice
constexpr int RUN_STRIDE = RUN * STRIDE + COLUMNS % 32;   // nor do threads that walk neighbouring runs
constexpr int RUN_MOMENTS_BYTES = THREADS * 8;
constexpr float LEAST_VARIANCE = 1e-12f;

struct BalancedArgs {
  View x, base;
  const float* rotations;
  float2* moments;
  int* out;
  int* signals;     // zero before; the next turn, then [chunks][B * H]: 1 where the chunk's record is there
  float2* records;  // [chunks][B * H][HALF]
  int B, T, H, baseHeads, D, firstPosition;
};

/** Of `count` values; a float, exact up to 2^24, for conversions are as slow as divisions. */
struct Moments {
  float mean, m2, count;

  DEVICE void merge(float2 other, float otherCount) {
    if (otherCount == 0.f) return;
    const float share = otherCount / (count + otherCount), delta = other.x - mean;
    mean = fmaf(delta, share, mean);
    m2 += other.y + delta * delta * count * share;
    count += otherCount;
  }
  /** Takes a value in. @returns `own`, that value or another, standardised */
  DEVICE float add(float value, float own) {
    count += 1.f;
    const float delta = value - mean, share = __fdividef(1.f, count);
    mean = fmaf(delta, share, mean);
    m2 = fmaf(delta, value - mean, m2);
    return (own - mean) * rsqrtf(fmaxf(m2 * share, LEAST_VARIANCE));
  }
  DEVICE float2 pair() const { return make_float2(mean, m2); }
};

/** One column of a run: the projections of `count` rows of base, and those of x, later its scores, in shared memory. */
struct Run {
  const float* column;
  float* own;  // the same if not RELATIVE
  int count;

  /** The mean first, then the squares. */
  DEVICE float2 moments() const {
    float values[RUN], mean = 0.f, m2 = 0.f;
#pragma unroll
    for (int i = 0; i < RUN; ++i) mean += values[i] = i < count ? column[i * STRIDE] : 0.f;
    mean /= max(count, 1);
#pragma unroll
    for (int i = 0; i < RUN; ++i) {
      const float deviation = i < count ? values[i] - mean : 0.f;
      m2 = fmaf(deviation, deviation, m2);
    }
    return make_float2(mean, m2);
  }
  DEVICE void standardise(Moments before) const {
#pragma unroll 8
    for (int i = 0; i < count; ++i) own[i * STRIDE] = before.add(column[i * STRIDE], own[i * STRIDE]);
  }
};

DEVICE void raise(int* signal) { asm volatile("st.release.gpu.global.s32 [%0], 1;" ::"l"(signal) : "memory"); }
DEVICE void await(const int* signal) {
  int raised;
  do asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(raised) : "l"(signal) : "memory");
  while (!raised);
}

/** A chunk of a head, its projections and later scores in shared memory. */
struct Chunk {
  int number, heads, head, b, h, first, rows;
  float* scores;  // of x: [RUNS][RUN][STRIDE], with gaps between runs
  float* base;    // projections of base, likewise
  float2* runs;   // [RUNS][COLUMNS], of threads: moments of each, later of all before each; where the rotations were

  DEVICE int run_rows(int run) const { return max(0, min(RUN, rows - run * RUN)); }
  DEVICE int row(int i) const { return i / RUN * RUN_STRIDE + i % RUN * STRIDE; }

  DEVICE void project(const BalancedArgs& a, uint4* parts) const {
    split_rotations(a.rotations + (i64)h * a.D * HALF, a.D, parts);
    __syncthreads();  // guards the rotations: all parts are written
    project_rows(a, view_head<u16>(a.x, b, h), a.x.row, parts, scores);
    if (RELATIVE) project_rows(a, view_head<u16>(a.base, b, h * a.baseHeads / a.H), a.base.row, parts, base);
  }
  DEVICE void project_rows(const BalancedArgs& a, const u16* x, i64 stride, uint4* parts, float* projections) const {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
#pragma unroll 1
    for (int tile = warp * TILE; tile < rows; tile += WARPS * TILE) {
      Rows left;
      left.load(x, stride, first + tile, a.T, a.D);
      float* to = projections + row(tile) + (lane >> 2) * STRIDE + (lane & 3) * 2;
#pragma unroll 1
      for (int n = 0; n < COLUMNS / 8; ++n) {
        float sums[4];
        left.project(parts, n, sums);
#pragma unroll
        for (int r = 0; r < 2; ++r)
          *(float2*)(to + r * 8 * STRIDE + n * 8) = make_float2(sums[2 * r] / SCALE, sums[2 * r + 1] / SCALE);
      }
    }
  }

  /** Of the rows before x, which the first chunk counts as its own; of one column. */
  DEVICE Moments given(const BalancedArgs& a, int column) const {
    Moments before = {0.f, 0.f, 0.f};
    if (number == 0 && a.firstPosition > 0) before.merge(a.moments[(i64)head * HALF + column], a.firstPosition);
    return before;
  }

  /** Stores the chunk's moments of one column, as the chunks that follow will merge them. */
  DEVICE void record(const BalancedArgs& a, int column, Moments all) const {
    for (int run = 0; run < RUNS; ++run) all.merge(runs[run * COLUMNS + column], run_rows(run));
    a.records[((i64)number * heads + head) * HALF + column] = all.pair();
  }

  /** Turns the moments of runs into those of all rows before each; of one column. */
  DEVICE void merge_before(const BalancedArgs& a, int column, Moments before) const {
    const float2* record = a.records + (i64)head * HALF + column;
#pragma unroll 4
    for (int c = 0; c < number; ++c)
      before.merge(__ldcg(record + (i64)c * heads * HALF), c == 0 ? a.firstPosition + CHUNK_ROWS : CHUNK_ROWS);
    for (int run = 0; run < RUNS; ++run) {
      const float2 own = runs[run * COLUMNS + column];
      runs[run * COLUMNS + column] = before.pair();
      before.merge(own, run_rows(run));
    }
    if (first + rows == a.T) a.moments[(i64)head * HALF + column] = before.pair();
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    lsh_buckets_balanced(const __grid_constant__ BalancedArgs a) {
  extern __shared__ __align__(128) uint4 parts[];
  __shared__ int turn;
  if (threadIdx.x == 0) turn = atomicAdd(a.signals, 1);
  __syncthreads();  // guards the turn: it is drawn
  Chunk chunk;
  chunk.heads = a.B * a.H;
  chunk.number = turn / chunk.heads;
  chunk.head = turn % chunk.heads;
  chunk.b = chunk.head / a.H;
  chunk.h = chunk.head % a.H;
  chunk.first = chunk.number * CHUNK_ROWS;
  chunk.rows = min(CHUNK_ROWS, a.T - chunk.first);
  chunk.scores = (float*)((char*)parts + max(PART_BYTES, RUN_MOMENTS_BYTES));
  chunk.base = chunk.scores + RELATIVE * RUNS * RUN_STRIDE;
  chunk.runs = (float2*)parts;
  chunk.project(a, parts);
  __syncthreads();  // guards the projections: all are written; and the rotations: none is read any more

  // Moments: of runs, of the chunk for those that follow, of all before each run.
  const int number = threadIdx.x / COLUMNS;
  const int column = number * RUN_STRIDE + threadIdx.x % COLUMNS;
  const Run run = {chunk.base + column, chunk.scores + column, number < RUNS ? chunk.run_rows(number) : 0};
  chunk.runs[threadIdx.x] = run.moments();
  __syncthreads();  // guards the moments: those of all runs are written
  Moments given;
  if (threadIdx.x < HALF) {
    given = chunk.given(a, threadIdx.x);  // before the signal: the last chunk's block replaces it
    chunk.record(a, threadIdx.x, given);
  }
  __syncthreads();  // guards the record: all of it is written
  int* signals = a.signals + 1 + chunk.head;
  if (threadIdx.x == 0) raise(signals + (i64)chunk.number * chunk.heads);
  for (int c = threadIdx.x; c < chunk.number; c += THREADS) await(signals + (i64)c * chunk.heads);
  __syncthreads();  // guards the records: those of all chunks before are there
  if (threadIdx.x < HALF) chunk.merge_before(a, threadIdx.x, given);
  __syncthreads();  // guards the moments: they are those before each run now

  // Standardise.
  const float2 before = chunk.runs[threadIdx.x];
  run.standardise({before.x, before.y, (float)(a.firstPosition + chunk.first + number * RUN)});
  __syncthreads();  // guards the scores: all are standardised

  // Argmax and store: a thread a row.
  for (int i = threadIdx.x; i < chunk.rows; i += THREADS) {
    Farthest farthest = {0.f, 0};
#pragma unroll 2
    for (int n = 0; n < COLUMNS; n += 4) {
      const float4 four = *(const float4*)(chunk.scores + chunk.row(i) + n);
      const float scores[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int c = 0; c < 4; ++c)
        if (n + c < HALF) farthest.take(scores[c], n + c);
    }
    a.out[((i64)chunk.b * a.T + chunk.first + i) * a.H + chunk.h] = farthest.bucket();
  }
}
