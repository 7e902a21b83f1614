// adamw: one step of AdamW in place.
//
// Inputs:  param, grad, m, v [size]; norm [1]; control [4] = learning rate, 1 - beta1^t, 1 - beta2^t, gradient factor.
// Grid:    one task per `perTask` elements, a multiple of 4.
// Scratch: none.
// Numerics: float32. A norm that is not finite leaves everything as it was.
// Paper:   Loshchilov and Hutter, arXiv 1711.05101.
import { loadLanes, madd, storeLanes } from "./simd.as";

@unmanaged
class AdamwArgs {
  param: usize;
  grad: usize;
  m: usize;
  v: usize;
  norm: usize;
  control: usize;
  size: u32;
  perTask: u32;
  maxNorm: f32;
  beta1: f32;
  oneLessBeta1: f32;
  beta2: f32;
  oneLessBeta2: f32;
  epsilon: f32;
  weightDecay: f32;
}

export function adamw(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<AdamwArgs>(argsAddress);
  const norm = load<f32>(args.norm);
  if (!isFinite<f32>(norm)) return;
  const factor = load<f32>(args.control, 12);
  const scale = f32x4.splat(factor * min<f32>(1, args.maxNorm / (factor * norm)));
  const learningRate = load<f32>(args.control);
  const rates = f32x4.splat(learningRate);
  const keeps = f32x4.splat(1 - learningRate * args.weightDecay);
  const correction1 = f32x4.splat(load<f32>(args.control, 4));
  const correction2 = f32x4.splat(load<f32>(args.control, 8));
  const beta1 = f32x4.splat(args.beta1);
  const beta2 = f32x4.splat(args.beta2);
  const gain1 = f32x4.splat(args.oneLessBeta1);
  const gain2 = f32x4.splat(args.oneLessBeta2);
  const epsilon = f32x4.splat(args.epsilon);

  const first = task * args.perTask;
  const end = min(first + args.perTask, args.size);
  for (let i = first; i < end; i += 4) {
    const at: usize = i << 2;
    const lanes = <i32>(end - i);
    const g = f32x4.mul(loadLanes(args.grad + at, lanes), scale);
    const m = madd(beta1, loadLanes(args.m + at, lanes), f32x4.mul(gain1, g));
    const v = madd(beta2, loadLanes(args.v + at, lanes), f32x4.mul(gain2, f32x4.mul(g, g)));
    const root = f32x4.sqrt(f32x4.div(v, correction2));
    const step = f32x4.div(f32x4.div(m, correction1), f32x4.add(root, epsilon));
    const p = f32x4.sub(f32x4.mul(keeps, loadLanes(args.param + at, lanes)), f32x4.mul(rates, step));
    storeLanes(args.m + at, m, lanes);
    storeLanes(args.v + at, v, lanes);
    storeLanes(args.param + at, p, lanes);
  }
}
