// normalizeRowsBackward: with y = x / max(|x|, epsilon), dx += (dout - y (y . dout)) / max(|x|, epsilon); where |x| is at
// most epsilon the divisor is constant, and the second term falls away.
//
// Inputs:  x, dout, dx [B, T, H, D], strided (bytes between neighbours of B, T and H).
// Grid:    one task per `positionsPerTask` positions (b, t).
// Scratch: none.
import { rowDot, rowLength } from "./normalize_rows.as";
import { loadTail, madd, storeTail } from "./simd.as";

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
  const inverse: f32 = 1 / max<f32>(length, epsilon);
  // dx += dout / n - x (x . dout) / n^3
  const along: f32 = length > epsilon ? -rowDot(x, dout, D) * inverse * inverse * inverse : 0;
  const inverses = f32x4.splat(inverse);
  const alongs = f32x4.splat(along);
  const whole = <usize>(D & ~3) << 2;
  for (let d: usize = 0; d < whole; d += 16) {
    const change = madd(v128.load(x + d), alongs, f32x4.mul(v128.load(dout + d), inverses));
    v128.store(dx + d, f32x4.add(v128.load(dx + d), change));
  }
  const tail = D & 3;
  if (tail) {
    const change = madd(loadTail(x + whole, tail), alongs, f32x4.mul(loadTail(dout + whole, tail), inverses));
    storeTail(dx + whole, f32x4.add(loadTail(dx + whole, tail), change), tail);
  }
}
