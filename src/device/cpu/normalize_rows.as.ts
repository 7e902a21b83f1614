// normalizeRows: out = x / max(|x|, epsilon) over the last dimension.
//
// Inputs:  x, out [B, T, H, D], strided (bytes between neighbours of B, T and H).
// Grid:    one task per `positionsPerTask` positions (b, t).
// Scratch: none.
import { loadTail, madd, storeTail, sumLanes } from "./simd.as";

@unmanaged
class NormalizeRowsArgs {
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
  out: usize;
  outB: usize;
  outT: usize;
  outH: usize;
}

export function normalizeRows(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<NormalizeRowsArgs>(argsAddress);
  const first = task * args.positionsPerTask;
  const end = min(first + args.positionsPerTask, args.B * args.T);
  for (let position = first; position < end; position++) {
    const b = position / args.T;
    const t = position % args.T;
    for (let h: u32 = 0; h < args.H; h++) {
      const x = args.x + b * args.xB + t * args.xT + h * args.xH;
      const out = args.out + b * args.outB + t * args.outT + h * args.outH;
      scaleRow(x, out, args.D, 1 / max<f32>(rowLength(x, args.D), args.epsilon));
    }
  }
}

function scaleRow(x: usize, out: usize, D: i32, factor: f32): void {
  const factors = f32x4.splat(factor);
  const whole = <usize>(D & ~3) << 2;
  for (let d: usize = 0; d < whole; d += 16) v128.store(out + d, f32x4.mul(v128.load(x + d), factors));
  const tail = D & 3;
  if (tail) storeTail(out + whole, f32x4.mul(loadTail(x + whole, tail), factors), tail);
}

export function rowLength(x: usize, D: i32): f32 {
  return sqrt<f32>(rowDot(x, x, D));
}

export function rowDot(x: usize, y: usize, D: i32): f32 {
  let sum = f32x4.splat(0);
  const whole = <usize>(D & ~3) << 2;
  for (let d: usize = 0; d < whole; d += 16) sum = madd(v128.load(x + d), v128.load(y + d), sum);
  const tail = D & 3;
  if (tail) sum = madd(loadTail(x + whole, tail), loadTail(y + whole, tail), sum);
  return sumLanes(sum);
}
