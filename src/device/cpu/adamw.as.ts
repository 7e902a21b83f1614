// adamw: one step of AdamW in place.
//
// Inputs:  param, computed (may be param), grad, m, v [size]; norm [1]; control [4] = learning rate, 1 - beta1^t, 1 - beta2^t, gradient factor.
// Grid:    one task per `perTask` elements, a multiple of 4.
// Scratch: none.
// Numerics: float32. A norm that is not finite leaves everything as it was.
// Paper:   Loshchilov and Hutter, arXiv 1711.05101.
import { madd } from "./simd.as";

@unmanaged
class AdamwArgs {
  param: usize;
  computed: usize;
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
  const scale = factor * min<f32>(1, args.maxNorm / (factor * norm));
  const first = task * args.perTask;
  const end = min(first + args.perTask, args.size);
  const whole = first + ((end - first) & ~3);
  stepVectors(args, scale, first << 2, whole << 2);
  for (let i = whole; i < end; i++) stepOne(args, scale, i << 2);
}

function stepVectors(args: AdamwArgs, scale: f32, at: usize, end: usize): void {
  const learningRate = load<f32>(args.control);
  const rates = f32x4.splat(learningRate);
  const keeps = f32x4.splat(1 - learningRate * args.weightDecay);
  const correction1 = f32x4.splat(load<f32>(args.control, 4));
  const correction2 = f32x4.splat(load<f32>(args.control, 8));
  for (; at < end; at += 16) {
    const g = f32x4.mul(v128.load(args.grad + at), f32x4.splat(scale));
    const newM = f32x4.mul(f32x4.splat(args.oneLessBeta1), g);
    const m = madd(f32x4.splat(args.beta1), v128.load(args.m + at), newM);
    const newV = f32x4.mul(f32x4.splat(args.oneLessBeta2), f32x4.mul(g, g));
    const v = madd(f32x4.splat(args.beta2), v128.load(args.v + at), newV);
    const root = f32x4.sqrt(f32x4.div(v, correction2));
    const step = f32x4.div(f32x4.div(m, correction1), f32x4.add(root, f32x4.splat(args.epsilon)));
    const p = f32x4.sub(f32x4.mul(keeps, v128.load(args.param + at)), f32x4.mul(rates, step));
    v128.store(args.m + at, m);
    v128.store(args.v + at, v);
    v128.store(args.param + at, p);
    if (args.computed != args.param) v128.store(args.computed + at, p);
  }
}

function stepOne(args: AdamwArgs, scale: f32, at: usize): void {
  const learningRate = load<f32>(args.control);
  const g = load<f32>(args.grad + at) * scale;
  const m = args.beta1 * load<f32>(args.m + at) + args.oneLessBeta1 * g;
  const v = args.beta2 * load<f32>(args.v + at) + args.oneLessBeta2 * (g * g);
  const root = sqrt<f32>(v / load<f32>(args.control, 8));
  const step = m / load<f32>(args.control, 4) / (root + args.epsilon);
  const keep: f32 = <f32>1 - learningRate * args.weightDecay;
  store<f32>(args.m + at, m);
  store<f32>(args.v + at, v);
  const p = keep * load<f32>(args.param + at) - learningRate * step;
  store<f32>(args.param + at, p);
  store<f32>(args.computed + at, p);
}
