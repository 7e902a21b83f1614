// softmaxCrossEntropy: losses[n] = logsumexp(logits[n]) - logits[n, target]; with a `gradScale`, logits[n] becomes
// (softmax - onehot) * gradScale. Target -1: loss and gradient 0. Other targets out of range: NaN. A loss that is not
// finite: gradient NaN.
//
// Inputs:  logits [N, V], targets i32 [N], losses [N], gradScale [1] or 0.
// Grid:    one task per `rowsPerTask` rows.
// Scratch: none.
// Numerics: float32 about the row's maximum; the logarithm in float64.
import { expx4, loadTail, maxLanes, storeTail, sumLanes } from "./simd.as";

@unmanaged
class SoftmaxCrossEntropyArgs {
  logits: usize;
  targets: usize;
  losses: usize;
  N: u32;
  V: i32;
  rowsPerTask: u32;
  gradScale: usize;
}

export function softmaxCrossEntropy(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<SoftmaxCrossEntropyArgs>(argsAddress);
  const first = task * args.rowsPerTask;
  const end = min(first + args.rowsPerTask, args.N);
  const V = args.V;
  const withGradient = args.gradScale != 0;
  const gradScale: f32 = withGradient ? load<f32>(args.gradScale) : 0;
  for (let n = first; n < end; n++) {
    const row = args.logits + <usize>n * V * 4;
    const target = load<i32>(args.targets + (n << 2));
    if (<u32>target >= <u32>V) {
      const value: f32 = target == -1 ? 0 : f32.NaN;
      store<f32>(args.losses + (n << 2), value);
      if (withGradient) fillRow(row, V, value);
      continue;
    }
    const largest = rowMax(row, V);
    const targetLogit = load<f32>(row + (target << 2));
    const sum = withGradient ? storeExps(row, V, largest) : sumExps(row, V, largest);
    const loss = <f32>(<f64>largest - <f64>targetLogit + NativeMath.log(<f64>sum));
    store<f32>(args.losses + (n << 2), loss);
    if (!withGradient) continue;
    if (!isFinite<f32>(loss)) {
      fillRow(row, V, f32.NaN);
      continue;
    }
    scaleRow(row, V, gradScale / sum);
    const at = row + (target << 2);
    store<f32>(at, load<f32>(at) - gradScale);
  }
}

function rowMax(row: usize, V: i32): f32 {
  let most = f32x4.splat(-Infinity);
  const whole = V & ~3;
  for (let i = 0; i < whole; i += 4) most = f32x4.max(most, v128.load(row + (<usize>i << 2)));
  let largest = maxLanes(most);
  for (let i = whole; i < V; i++) largest = max(largest, load<f32>(row + (<usize>i << 2)));
  return largest;
}

function sumExps(row: usize, V: i32, largest: f32): f32 {
  const shift = f32x4.splat(largest);
  const whole = V & ~3;
  let sum = f32x4.splat(0);
  for (let i = 0; i < whole; i += 4) {
    sum = f32x4.add(sum, expx4(f32x4.sub(v128.load(row + (<usize>i << 2)), shift)));
  }
  return sumLanes(f32x4.add(sum, tailExps(row, V, shift)));
}

function storeExps(row: usize, V: i32, largest: f32): f32 {
  const shift = f32x4.splat(largest);
  const whole = V & ~3;
  let sum = f32x4.splat(0);
  for (let i = 0; i < whole; i += 4) {
    const at = row + (<usize>i << 2);
    const e = expx4(f32x4.sub(v128.load(at), shift));
    v128.store(at, e);
    sum = f32x4.add(sum, e);
  }
  const tail = tailExps(row, V, shift);
  storeTail(row + (<usize>whole << 2), tail, V - whole);
  return sumLanes(f32x4.add(sum, tail));
}

/** The exps of what is left after the last whole vector, zeros after that. */
function tailExps(row: usize, V: i32, shift: v128): v128 {
  const whole = V & ~3;
  const lanes = V - whole;
  const inside = i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(lanes));
  const e = expx4(f32x4.sub(loadTail(row + (<usize>whole << 2), lanes), shift));
  return v128.and(e, inside);
}

function scaleRow(row: usize, V: i32, factor: f32): void {
  const factors = f32x4.splat(factor);
  const end = row + (<usize>(V & ~3) << 2);
  for (; row < end; row += 16) v128.store(row, f32x4.mul(v128.load(row), factors));
  const tail = V & 3;
  if (tail) storeTail(row, f32x4.mul(loadTail(row, tail), factors), tail);
}

function fillRow(row: usize, V: i32, value: f32): void {
  for (let i = 0; i < V; i++) store<f32>(row + (<usize>i << 2), value);
}
