// adamw: one step of AdamW in place, and the new values in the type that the model computes in.
// Inputs:  param, grad, m, v f32 [size]; norm f32 [1]; control f32 [4] = learning rate, 1 - beta1^t, 1 - beta2^t,
//          gradient factor. Output: also `computed` [size] of type COMPUTED.
// Grid:    x = ceil(size / (THREADS * ELEMENTS)); a thread owns GROUPS times GROUP neighbours: each array is read and
//          written once, 16 bytes a thread, without gaps in a warp. Where the pointers are not aligned, or the share is
//          not whole, one element at a time.
// Set by the launcher: COMPUTED (a type of elements.cuh, or -1 for none).
// Numerics: f32. A norm that is not finite leaves everything as it was.
// Paper:   Loshchilov and Hutter, arXiv 1711.05101.
#include "elements.cuh"

constexpr int THREADS = 256, GROUP = 4, GROUPS = 2, ELEMENTS = GROUP * GROUPS;

struct AdamwArgs {
  float* param;
  const float* grad;
  float *m, *v;
  void* computed;
  const float *norm, *control;
  i64 size;
  float maxNorm, beta1, oneLessBeta1, beta2, oneLessBeta2, epsilon, weightDecay;
  int aligned;
};

/** What is the same for all elements. */
struct Step {
  float gradScale, learningRate, keep, correction1, correction2;
};

template <int WIDTH> struct State {
  float param[WIDTH], grad[WIDTH], m[WIDTH], v[WIDTH];
};

template <int WIDTH> DEVICE void load_state(const AdamwArgs& a, i64 at, State<WIDTH>& s) {
  load<F32>(a.grad, at, s.grad);
  load<F32>(a.m, at, s.m);
  load<F32>(a.v, at, s.v);
  load<F32>(a.param, at, s.param);
}

template <int WIDTH> DEVICE void take_step(const AdamwArgs& a, const Step& step, i64 at, State<WIDTH>& s) {
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) {
    const float g = s.grad[i] * step.gradScale;
    s.m[i] = fmaf(a.beta1, s.m[i], a.oneLessBeta1 * g);
    s.v[i] = fmaf(a.beta2, s.v[i], a.oneLessBeta2 * (g * g));
    const float root = sqrtf(s.v[i] * step.correction2);
    const float change = s.m[i] * step.correction1 / (root + a.epsilon);
    s.param[i] = fmaf(step.keep, s.param[i], -step.learningRate * change);
  }
  store<F32>(a.m, at, s.m);
  store<F32>(a.v, at, s.v);
  store<F32>(a.param, at, s.param);
#if COMPUTED >= 0
  store<COMPUTED>(a.computed, at, s.param);
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS) adamw(const __grid_constant__ AdamwArgs a) {
  const float norm = *a.norm, factor = a.control[3], learningRate = a.control[0];
  if (!(fabsf(norm) < INFINITE)) return;
  const Step step = {factor * fminf(1.f, a.maxNorm / (factor * norm)), learningRate, 1.f - learningRate * a.weightDecay,
                     1.f / a.control[1], 1.f / a.control[2]};
  const Share share = share_of_block(a.size, THREADS * ELEMENTS, a.aligned);
  if (share.whole) {
    State<GROUP> states[GROUPS];
    const i64 at = share.first + threadIdx.x * GROUP;
#pragma unroll
    for (int g = 0; g < GROUPS; ++g) load_state(a, at + g * THREADS * GROUP, states[g]);
#pragma unroll
    for (int g = 0; g < GROUPS; ++g) take_step(a, step, at + g * THREADS * GROUP, states[g]);
    return;
  }
  for (i64 i = share.first + threadIdx.x; i < share.end; i += THREADS) {
    State<1> state;
    load_state(a, i, state);
    take_step(a, step, i, state);
  }
}
