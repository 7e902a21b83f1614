// layerNormBackward: with xHat = (x - mean) * rstd and g = dout * weight,
//   dx += rstd * (g - mean(g) - xHat * mean(g * xHat)); dWeight += sum over rows of dout * xHat; dBias += that of dout.
//
// Inputs:  x, dout, dx [N, C]; weight [C]; mean, rstd [N]; partials [tasks, C] for dWeight and (or 0) for dBias, which
//          addColumnSums then adds up.
// Grid:    one task per `rowsPerTask` rows.
// Scratch: none.
// Numerics: float32.
import { loadLanes, madd, storeLanes, sumLanes } from "./simd.as";

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
  const C = args.C;
  const rowBytes = <usize>C << 2;
  const dWeight = args.weightPartials + task * rowBytes;
  const dBias = args.biasPartials ? args.biasPartials + task * rowBytes : 0;
  memory.fill(dWeight, 0, rowBytes);
  if (dBias) memory.fill(dBias, 0, rowBytes);
  for (let n = first; n < end; n++) {
    const x = args.x + n * rowBytes;
    const dout = args.dout + n * rowBytes;
    const dx = args.dx + n * rowBytes;
    const means = f32x4.splat(load<f32>(args.mean + (n << 2)));
    const rstds = f32x4.splat(load<f32>(args.rstd + (n << 2)));

    let sumG = f32x4.splat(0);
    let sumGX = f32x4.splat(0);
    for (let c = 0; c < C; c += 4) {
      const at = <usize>c << 2;
      const lanes = C - c;
      // Lanes beyond the edge have g = 0.
      const g = f32x4.mul(loadLanes(dout + at, lanes), loadLanes(args.weight + at, lanes));
      const xHat = f32x4.mul(f32x4.sub(loadLanes(x + at, lanes), means), rstds);
      sumG = f32x4.add(sumG, g);
      sumGX = madd(g, xHat, sumGX);
    }
    const meanG = f32x4.splat(sumLanes(sumG) / <f32>C);
    const meanGX = f32x4.splat(sumLanes(sumGX) / <f32>C);

    for (let c = 0; c < C; c += 4) {
      const at = <usize>c << 2;
      const lanes = C - c;
      const d = loadLanes(dout + at, lanes);
      const g = f32x4.mul(d, loadLanes(args.weight + at, lanes));
      const xHat = f32x4.mul(f32x4.sub(loadLanes(x + at, lanes), means), rstds);
      const inner = f32x4.sub(f32x4.sub(g, meanG), f32x4.mul(xHat, meanGX));
      storeLanes(dx + at, madd(rstds, inner, loadLanes(dx + at, lanes)), lanes);
      storeLanes(dWeight + at, madd(d, xHat, loadLanes(dWeight + at, lanes)), lanes);
      if (dBias) storeLanes(dBias + at, f32x4.add(d, loadLanes(dBias + at, lanes)), lanes);
    }
  }
}
