// layerNormBackward: with xHat = (x - mean) * rstd and g = dout * weight,
//   dx += rstd * (g - mean(g) - xHat * mean(g * xHat)); dWeight += sum over rows of dout * xHat; dBias += that of dout.
//
// Inputs:  x, dout, dx [N, C]; weight [C]; mean, rstd [N]; partials [tasks, C] for dWeight and (or 0) for dBias, which
//          addColumnSums then adds up.
// Grid:    one task per `rowsPerTask` rows.
// Scratch: none.
// Numerics: float32.
import { loadTail, madd, storeTail, sumLanes } from "./simd.as";

@unmanaged
class LayerNormBackwardArgs {
  x: usize;
  weight: usize;
  mean: usize;
  rstd: usize;
  dout: usize;
  dx: usize;
  weightPartials: usize;
  biasPartials: usize;
  N: u32;
  C: i32;
  rowsPerTask: u32;
}

export function layerNormBackward(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<LayerNormBackwardArgs>(argsAddress);
  const first = task * args.rowsPerTask;
  const end = min(first + args.rowsPerTask, args.N);
  const rowBytes = <usize>args.C << 2;
  const dWeight = args.weightPartials + task * rowBytes;
  const dBias = args.biasPartials ? args.biasPartials + task * rowBytes : 0;
  memory.fill(dWeight, 0, rowBytes);
  if (dBias) memory.fill(dBias, 0, rowBytes);
  for (let n = first; n < end; n++) backwardRow(args, n, dWeight, dBias);
}

function backwardRow(args: LayerNormBackwardArgs, n: u32, dWeight: usize, dBias: usize): void {
  const C = args.C;
  const rowBytes = <usize>C << 2;
  const whole = <usize>(C & ~3) << 2;
  const tail = C & 3;
  const x = args.x + n * rowBytes;
  const dout = args.dout + n * rowBytes;
  const dx = args.dx + n * rowBytes;
  const weight = args.weight;
  const means = f32x4.splat(load<f32>(args.mean + (n << 2)));
  const rstds = f32x4.splat(load<f32>(args.rstd + (n << 2)));

  let sumG = f32x4.splat(0);
  let sumGX = f32x4.splat(0);
  for (let c: usize = 0; c < whole; c += 16) {
    const g = f32x4.mul(v128.load(dout + c), v128.load(weight + c));
    sumG = f32x4.add(sumG, g);
    sumGX = madd(g, f32x4.mul(f32x4.sub(v128.load(x + c), means), rstds), sumGX);
  }
  if (tail) {
    // Lanes beyond the edge have g = 0.
    const g = f32x4.mul(loadTail(dout + whole, tail), loadTail(weight + whole, tail));
    sumG = f32x4.add(sumG, g);
    sumGX = madd(g, f32x4.mul(f32x4.sub(loadTail(x + whole, tail), means), rstds), sumGX);
  }
  const meanG = f32x4.splat(sumLanes(sumG) / <f32>C);
  const meanGX = f32x4.splat(sumLanes(sumGX) / <f32>C);

  for (let c: usize = 0; c < whole; c += 16) {
    const d = v128.load(dout + c);
    const xHat = f32x4.mul(f32x4.sub(v128.load(x + c), means), rstds);
    const inner = f32x4.sub(f32x4.sub(f32x4.mul(d, v128.load(weight + c)), meanG), f32x4.mul(xHat, meanGX));
    v128.store(dx + c, madd(rstds, inner, v128.load(dx + c)));
    v128.store(dWeight + c, madd(d, xHat, v128.load(dWeight + c)));
    if (dBias) v128.store(dBias + c, f32x4.add(d, v128.load(dBias + c)));
  }
  if (tail) {
    const d = loadTail(dout + whole, tail);
    const xHat = f32x4.mul(f32x4.sub(loadTail(x + whole, tail), means), rstds);
    const inner = f32x4.sub(f32x4.sub(f32x4.mul(d, loadTail(weight + whole, tail)), meanG), f32x4.mul(xHat, meanGX));
    storeTail(dx + whole, madd(rstds, inner, loadTail(dx + whole, tail)), tail);
    storeTail(dWeight + whole, madd(d, xHat, loadTail(dWeight + whole, tail)), tail);
    if (dBias) storeTail(dBias + whole, f32x4.add(d, loadTail(dBias + whole, tail)), tail);
  }
}
