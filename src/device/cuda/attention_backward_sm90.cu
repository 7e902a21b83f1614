// Attention backward over a staircase, for sm_90a (wgmma, warp-specialised, persistent): five products a tile.
//
// Inputs:  q, dout [B,Tq,H,D], k, v [B,Tk,Hk,D] strided, 16-byte aligned rows; staircase qRows, kRows, qLo, qHi, which
//          never decrease; stats f32 [B,H,Tq'] x 2 in visit order, (-lse in base 2, delta), by
//          attention_backward_prepare, with a tensor map over (128, tiles, 1, 1), box (128, 1, 1, 1). IDENTITY: four
//          tensor maps over (D, heads, T, B), box (64, 1, 64, 1), 128-byte swizzle.
// Outputs: dk, dv [B,Tk,Hk,D] strided, summed over the query heads of a key head, added into with accumulateKV;
//          dqSum f32 [B,H,Tq'/64][64 * D], added into, not yet scaled, each tile as two halves of D/2 features in the
//          accumulator layout of the tensor cores (attention_backward_finish undoes it). Tq' is Tq padded to 64.
// Scratch: `counter`, two i32, zero before and left zero.
// Grid:    any number of blocks; an item is BLOCK_N = 128 key places of one key head, a turn one of its query heads.
// Threads: warpgroup 0 loads keys and values of an item, and a ring of STAGES query tiles (q, dout, stats); warpgroups
//          1 and 2 own 64 keys each and their dk, dv. dq needs the score gradients of both: they pass through shared
//          memory, and each makes D/2 features of the product.
// Shared:  1024 + KEY_BUFFERS * 512 * D + STAGES * (256 * D + 512) + 3 * 16384 + 2048
//          + (STAGES + KEY_BUFFERS + 2) * 16 + 384 bytes; KEY_BUFFERS 2 at D 64, 1 at D 128.
// Set by the launcher: HEAD_DIM (64 or 128, = D), STAGES, REGISTERS_LOAD, REGISTERS_COMPUTE (a thread; D 64: 88, 208,
//          or 40, 232 with IDENTITY; D 128: 56, 224), WITH_DQ (0: dk, dv alone, for the deterministic backward),
//          ELEMENT_F16, IDENTITY.
// Numerics: products in the element type with f32 accumulation; weights and score gradients are rounded to the element
//          type before their products; dq sums in f32, in no fixed order. scale > 0.
// Follows FlashAttention-3 (arXiv 2407.08608): transposed scores, so that weights and their gradients lie as dk and dv
// need their left operand. In which order a consumer asks for its products is said in attention_backward_d64.cuh and
// attention_backward_d128.cuh.
#include "attention_backward_load.cuh"
#include "attention_backward_tile.cuh"
#include "common.cuh"
#include "hopper.cuh"
#include "ring.cuh"
#if HEAD_DIM == 64
#include "attention_backward_d64.cuh"
#else
#include "attention_backward_d128.cuh"
#endif

DEVICE void consume(const AttentionArgs& a, const Shared& s, int index) {
  const int group = a.H / a.Hk;
  Ring<STAGES> ring;
  Consumer c;
  c.index = index;
  const Dealer dealer(s.dealer);
  for (int n = 0, round = 0;; ++n) {
    dealer.wait(n);
    const Turn turn = dealer.read(n);
    if (!turn.valid) break;
    dealer.done(n);
    const auto [buffer, parity] = KeyPlace(round);
    if (turn.h % group == 0) {
#pragma unroll
      for (int i = 0; i < HEAD_DIM / 2; ++i) c.dk[i] = c.dv[i] = 0.f;
      await_tile(s.keys_full(buffer), parity);
    }
    consume_head(s, Head(a, s, turn, buffer, n, index), c, ring);
    if (turn.h % group != group - 1) continue;
    store_item(a, s, turn, buffer, c);
    ++round;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    attention_backward_sm90(const __grid_constant__ AttentionArgs a, const __grid_constant__ TensorMap qMap,
                            const __grid_constant__ TensorMap kMap, const __grid_constant__ TensorMap vMap,
                            const __grid_constant__ TensorMap doutMap,
                            const __grid_constant__ TensorMap statsMap) {
  extern __shared__ u16 memory[];
  const Shared s(memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; ++i) {
      barrier_init(s.full(i), IDENTITY ? 1 : 1 + 128);  // tensor copies, and gathers
      barrier_init(s.empty(i), CONSUMER_WARPS);
    }
    for (int i = 0; i < KEY_BUFFERS; ++i) {
      barrier_init(s.keys_full(i), IDENTITY ? 1 : 128);
      barrier_init(s.keys_empty(i), CONSUMER_WARPS);
    }
    for (int i = 0; i < 2; ++i) {
      barrier_init(s.bounds_full(i), 128);
      barrier_init(s.bounds_empty(i), CONSUMER_WARPS);
    }
    Dealer(s.dealer).init(CONSUMER_WARPS + 4);
    barrier_init_fence();
  }
  __syncthreads();  // guards the barriers: they are initialised
  const int warpgroup = uniform(threadIdx.x / 128);
  if (warpgroup == 0) {
    registers_shrink<REGISTERS_LOAD>();
    const Maps maps = {&qMap, &kMap, &vMap, &doutMap, &statsMap};
    produce(a, s, maps);
  } else {
    registers_grow<REGISTERS_COMPUTE>();
    consume(a, s, warpgroup - 1);
  }
}
