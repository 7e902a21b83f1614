// softmaxCrossEntropy: losses[n] = logsumexp(logits[n]) - logits[n, target]; with a gradScale, logits[n] becomes
// (softmax - onehot) * gradScale. Target -1: loss and gradient 0. Other targets out of range: NaN. A loss that is not
// finite: gradient NaN.
//
// Inputs:  logits [N,V] (also the output), targets i32 [N], gradScale f32 [1] or null. Output: losses f32 [N].
// Grid:    N blocks, a row each, of 32 to 1024 threads. A row is its body of aligned chunks of 8 elements, which
//          thread t owns as t, t + threads, ..., and at most 7 elements before and 7 after, one for each of the first
//          threads.
// Shared:  heldChunks * 16 bytes: so many chunks of the body stay between the two passes, each read by its owner
//          alone, so that no barrier guards them. The rest is read again. 0 if no gradient is asked for.
// Set by the launcher: ELEMENT_F16.
// Numerics: float32; maximum and sum online, in a fixed order; exp2 of differences from the maximum, which are taken
//          before they are scaled, so that large logits keep their digits. The running maximum begins at the lowest
//          finite number: a logit of -Infinity then weighs 0 and never makes a NaN by itself.
// Follows online softmax (arXiv 1805.02867).
#include "rows.cuh"

struct SoftmaxCrossEntropyArgs {
  u16* logits;
  const int* targets;
  float* losses;
  const float* gradScale;
  int V, heldChunks;
};

constexpr int DEPTH = 8;  // chunks of a thread in flight
constexpr float LOWEST = -3.402823466e38f;
#define NOT_A_NUMBER __int_as_float(0x7fffffff)

/** exp(z - max), or NaN where both are the same infinity. */
DEVICE float weight_of(float z, float max) { return exp2_fast((z - max) * LOG2_E); }

/** Sum of exp(z - max), with the max that it is relative to. */
struct Online {
  float max = LOWEST, sum = 0.f;

  DEVICE void add(float z) {
    const float before = max;
    max = fmaxf(max, z);
    sum = fmaf(sum, weight_of(before, max), weight_of(z, max));
  }

  DEVICE void add8(uint4 chunk) {
    float z[8];
    unpack8(chunk, z);
    const float before = max;
#pragma unroll
    for (int k = 0; k < 8; ++k) max = fmaxf(max, z[k]);
    sum *= weight_of(before, max);
#pragma unroll
    for (int k = 0; k < 8; ++k) sum += weight_of(z[k], max);
  }

  DEVICE void merge(float otherMax, float otherSum) {
    const float most = fmaxf(max, otherMax);
    sum = sum * weight_of(max, most) + otherSum * weight_of(otherMax, most);
    max = most;
  }
};

/** Where the parts of a row begin and end. */
struct Row {
  u16* at;
  uint4* body;
  int head, chunks;
  /** The element beside the body that this thread owns, or -1. */
  int edge;

  DEVICE Row(u16* row, int V) : at(row) {
    head = min(V, (int)((16 - ((u64)row & 15)) & 15) / 2);
    chunks = (V - head) / 8;
    body = (uint4*)(row + head);
    const int t = threadIdx.x, past = t < head ? t : t + chunks * 8;
    edge = past < V ? past : -1;
  }
};

/** The body's maximum and sum; leaves the first `held` chunks in shared memory. */
DEVICE void read_body(const Row& row, uint4* shared, int held, Online& online) {
  const int step = blockDim.x;
  int ahead = threadIdx.x;
  const auto start_copy = [&] {
    if (ahead < held) copy16_async(shared_address(shared + ahead), row.body + ahead, true);
    copy_commit();
    ahead += step;
  };
  for (int i = 0; i < DEPTH - 1; ++i) start_copy();
  int at = threadIdx.x;
  for (; at < held; at += step) {
    start_copy();
    copy_wait<DEPTH - 1>();
    online.add8(shared[at]);
  }
#pragma unroll 4
  for (; at < row.chunks; at += step) online.add8(row.body[at]);
}

/** Merges all threads' states, in a fixed order; the same bits in every thread. */
DEVICE void merge_block(Online& online) {
  __shared__ float maxima[32], sums[32];
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const float max = __shfl_xor_sync(0xffffffffu, online.max, step);
    online.merge(max, __shfl_xor_sync(0xffffffffu, online.sum, step));
  }
  if ((threadIdx.x & 31) == 0) {
    maxima[threadIdx.x >> 5] = online.max;
    sums[threadIdx.x >> 5] = online.sum;
  }
  __syncthreads();  // guards maxima and sums; and all of the row is read before any of it is written
  online = Online();
  for (int w = 0; w < blockDim.x / 32; ++w) online.merge(maxima[w], sums[w]);
}

/** Sets every element of the row to one value. */
DEVICE void fill_row(const Row& row, float value) {
  const u32 pair = pack(value, value);
  for (int at = threadIdx.x; at < row.chunks; at += blockDim.x) row.body[at] = make_uint4(pair, pair, pair, pair);
  if (row.edge >= 0) row.at[row.edge] = to_element(value);
}

DEVICE uint4 gradient8(uint4 chunk, float max, float factor) {
  float z[8];
  unpack8(chunk, z);
#pragma unroll
  for (int k = 0; k < 8; ++k) z[k] = weight_of(z[k], max) * factor;
  return pack8(z);
}

DEVICE void write_gradient(const Row& row, const uint4* shared, int held, float max, float factor) {
  const int step = blockDim.x;
  int at = threadIdx.x;
#pragma unroll 2
  for (; at < held; at += step) row.body[at] = gradient8(shared[at], max, factor);
#pragma unroll 4
  for (; at < row.chunks; at += step) row.body[at] = gradient8(row.body[at], max, factor);
}

extern "C" __global__ void __launch_bounds__(1024)
    softmax_cross_entropy(const __grid_constant__ SoftmaxCrossEntropyArgs a) {
  extern __shared__ uint4 shared[];
  const Row row(a.logits + (i64)blockIdx.x * a.V, a.V);
  const int target = a.targets[blockIdx.x];
  if (target < 0 || target >= a.V) {
    const float value = target == -1 ? 0.f : NOT_A_NUMBER;
    if (threadIdx.x == 0) a.losses[blockIdx.x] = value;
    if (a.gradScale) fill_row(row, value);
    return;
  }
  // Maximum and sum.
  const int held = min(a.heldChunks, row.chunks);
  const float targetLogit = element(row.at[target]), edge = row.edge < 0 ? 0.f : element(row.at[row.edge]);
  Online online;
  if (row.edge >= 0) online.add(edge);
  read_body(row, shared, held, online);
  merge_block(online);
  // Loss.
  const float loss = online.max - targetLogit + logf(online.sum);
  if (threadIdx.x == 0) a.losses[blockIdx.x] = loss;
  if (!a.gradScale) return;
  if (!(fabsf(loss) < INFINITE)) {
    fill_row(row, NOT_A_NUMBER);
    return;
  }
  // Gradient.
  const float gradScale = *a.gradScale, factor = gradScale / online.sum;
  write_gradient(row, shared, held, online.max, factor);
  if (row.edge >= 0) row.at[row.edge] = to_element(weight_of(edge, online.max) * factor);
  __syncthreads();  // guards the target's element: its owner has written it
  if (threadIdx.x == 0) row.at[target] = to_element(weight_of(targetLogit, online.max) * factor - gradScale);
}
