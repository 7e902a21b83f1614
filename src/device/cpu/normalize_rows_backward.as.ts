// normalizeRowsBackward: with y = x / max(|x|, epsilon), dx += (dout - y (y . dout)) / max(|x|, epsilon); where |x| is at
// most epsilon the divisor is constant, and the second term falls away.
//
// Inputs:  x, dout, dx [B, T, H, D], strided (bytes between neighbours of B, T and H).
// Grid:    one task per `positionsPerTask` positions (b, t).
// Scratch: none.
import { rowDot, rowLength } from "./normalize_rows.as";
import { loadLanes, storeLanes } from "./simd.as";

@unmanaged
class NormalizeRowsBackwardArgs {
  B: u32;
  T: u32;
  H: u32;
  D: i32;
  positionsPerTask: u32;
  epsilon: f32;
  x: usize;
  xB: usize;
  xT: usize;
  xH: usize;
  dout: usize;
  doutB: usize;
  doutT: usize;
  doutH: usize;
  dx: usize;
  dxB: usize;
  dxT: usize;
  dxH: usize;
}

export function normalizeRowsBackward(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<NormalizeRowsBackwardArgs>(argsAddress);
  const first = task * args.positionsPerTask;
  const end = min(first + args.positionsPerTask, args.B * args.T);
  for (let position = first; position < end; position++) {
    const b = position / args.T;
    const t = position % args.T;
    for (let h: u32 = 0; h < args.H; h++) {
      const x = args.x + b * args.xB + t * args.xT + h * args.xH;
      const dout = args.dout + b * args.doutB + t * args.doutT + h * args.doutH;
      const dx = args.dx + b * args.dxB + t * args.dxT + h * args.dxH;
      backwardRow(x, dout, dx, args.D, args.epsilon);
    }
  }
}

function backwardRow(x: usize, dout: usize, dx: usize, D: i32, epsilon: f32): void {
  const length = rowLength(x, D);
  const divisor = max<f32>(length, epsilon);
  const along: f32 = length > epsilon ? rowDot(x, dout, D) / divisor : 0;
  const divisors = f32x4.splat(divisor);
  const alongs = f32x4.splat(along);
  for (let d = 0; d < D; d += 4) {
    const at = <usize>d << 2;
    const lanes = D - d;
    const y = f32x4.div(loadLanes(x + at, lanes), divisors);
    const change = f32x4.div(f32x4.sub(loadLanes(dout + at, lanes), f32x4.mul(y, alongs)), divisors);
    storeLanes(dx + at, f32x4.add(loadLanes(dx + at, lanes), change), lanes);
  }
}
