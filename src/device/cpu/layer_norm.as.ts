// layerNorm: out = (x - mean) * rstd * weight + bias over the last dimension.
//
// Inputs:  x, out [N, C]; weight, bias (or 0) [C]; mean, rstd [N].
// Grid:    one task per `rowsPerTask` rows.
// Scratch: none.
// Numerics: float32; the variance in a second pass about the mean, so that rows far from zero keep their digits.
// Paper:   Ba, Kiros and Hinton, arXiv 1607.06450.
import { loadTail, madd, storeTail, sumLanes } from "./simd.as";

@unmanaged
class LayerNormArgs {
  x: usize;
  weight: usize;
  bias: usize;
  epsilon: f32;
  out: usize;
  mean: usize;
  rstd: usize;
  N: u32;
  C: i32;
  rowsPerTask: u32;
}

export function layerNorm(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<LayerNormArgs>(argsAddress);
  const first = task * args.rowsPerTask;
  const end = min(first + args.rowsPerTask, args.N);
  const C = args.C;
  const rowBytes = <usize>C << 2;
  for (let n = first; n < end; n++) {
    const x = args.x + n * rowBytes;
    const mean = rowSum(x, C) / <f32>C;
    const rstd: f32 = 1 / sqrt<f32>(squaresAbout(mean, x, C) / <f32>C + args.epsilon);
    store<f32>(args.mean + (n << 2), mean);
    store<f32>(args.rstd + (n << 2), rstd);
    normalise(args, x, args.out + n * rowBytes, f32x4.splat(mean), f32x4.splat(rstd));
  }
}

function normalise(args: LayerNormArgs, x: usize, out: usize, means: v128, rstds: v128): void {
  const weight = args.weight;
  const bias = args.bias;
  const whole = <usize>(args.C & ~3) << 2;
  for (let c: usize = 0; c < whole; c += 16) {
    const y = f32x4.mul(f32x4.mul(f32x4.sub(v128.load(x + c), means), rstds), v128.load(weight + c));
    v128.store(out + c, bias ? f32x4.add(y, v128.load(bias + c)) : y);
  }
  const tail = args.C & 3;
  if (!tail) return;
  const y = f32x4.mul(f32x4.mul(f32x4.sub(loadTail(x + whole, tail), means), rstds), loadTail(weight + whole, tail));
  storeTail(out + whole, bias ? f32x4.add(y, loadTail(bias + whole, tail)) : y, tail);
}

function rowSum(x: usize, C: i32): f32 {
  let sum = f32x4.splat(0);
  const whole = C & ~3;
  for (let c = 0; c < whole; c += 4) sum = f32x4.add(sum, v128.load(x + (<usize>c << 2)));
  return sumLanes(f32x4.add(sum, loadTail(x + (<usize>whole << 2), C - whole)));
}

function squaresAbout(mean: f32, x: usize, C: i32): f32 {
  const means = f32x4.splat(mean);
  let sum = f32x4.splat(0);
  const whole = C & ~3;
  for (let c = 0; c < whole; c += 4) {
    const d = f32x4.sub(v128.load(x + (<usize>c << 2)), means);
    sum = madd(d, d, sum);
  }
  let total = sumLanes(sum);
  for (let c = whole; c < C; c++) {
    const d = load<f32>(x + (<usize>c << 2)) - mean;
    total += d * d;
  }
  return total;
}
