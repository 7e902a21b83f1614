// gradNorm: norm[0] = sqrt(sum of squares), in two kernels: squares of fixed segments, then their sum and root.
//
// Inputs:  grad [size]; partials f64 [tasks]; norm [1].
// Grid:    squareSums: one task per `perTask` elements; rootOfSums: one task.
// Scratch: none.
// Numerics: float64 throughout, in an order that the size alone sets.

@unmanaged
class SquareSumsArgs {
  grad: usize;
  partials: usize;
  size: u32;
  perTask: u32;
}

export function squareSums(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<SquareSumsArgs>(argsAddress);
  const first = task * args.perTask;
  const end = min(first + args.perTask, args.size);
  const whole = first + ((end - first) & ~3);
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  for (let i = first; i < whole; i += 4) {
    const g = v128.load(args.grad + (i << 2));
    const a = f64x2.promote_low_f32x4(g);
    const b = f64x2.promote_low_f32x4(v128.shuffle<f32>(g, g, 2, 3, 2, 3));
    low = f64x2.add(low, f64x2.mul(a, a));
    high = f64x2.add(high, f64x2.mul(b, b));
  }
  const both = f64x2.add(low, high);
  let sum = f64x2.extract_lane(both, 0) + f64x2.extract_lane(both, 1);
  for (let i = whole; i < end; i++) {
    const g = <f64>load<f32>(args.grad + (i << 2));
    sum += g * g;
  }
  store<f64>(args.partials + (task << 3), sum);
}

@unmanaged
class RootOfSumsArgs {
  partials: usize;
  count: u32;
  norm: usize;
}

export function rootOfSums(argsAddress: usize, _task: u32, _scratch: usize): void {
  const args = changetype<RootOfSumsArgs>(argsAddress);
  let sum: f64 = 0;
  for (let i: u32 = 0; i < args.count; i++) sum += load<f64>(args.partials + (i << 3));
  store<f32>(args.norm, <f32>sqrt<f64>(sum));
}
