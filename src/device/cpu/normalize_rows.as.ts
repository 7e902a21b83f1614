// normalizeRows: out = x / max(|x|, epsilon) over the last dimension.
//
// Inputs:  x, out [B, T, H, D], strided (bytes between neighbours of B, T and H).
// Grid:    one task per `positionsPerTask` positions (b, t).
// Scratch: none.
import { loadLanes, madd, storeLanes, sumLanes } from "./simd.as";

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
      const divisor = f32x4.splat(max<f32>(rowLength(x, args.D), args.epsilon));
      for (let d = 0; d < args.D; d += 4) {
        const at = <usize>d << 2;
        const lanes = args.D - d;
        storeLanes(out + at, f32x4.div(loadLanes(x + at, lanes), divisor), lanes);
      }
    }
  }
}

export function rowLength(x: usize, D: i32): f32 {
  return sqrt<f32>(rowDot(x, x, D));
}

export function rowDot(x: usize, y: usize, D: i32): f32 {
  let sum = f32x4.splat(0);
  for (let d = 0; d < D; d += 4) {
    const at = <usize>d << 2;
    sum = madd(loadLanes(x + at, D - d), loadLanes(y + at, D - d), sum);
  }
  return sumLanes(sum);
}
