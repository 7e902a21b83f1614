// attentionDelta: delta = sum over D of dout * o, one number for each query and head.
//
// Inputs:  o, dout [B,T,H,D] strided, D a multiple of 8; delta [B,H,T] strided. Strides in bytes.
// Grid:    one task for `rowsPerTask` positions of one b, all heads, so that rows are read in the order they lie.
// Scratch: none.

import { madd, sumLanes } from "./simd.as";

@unmanaged
class DeltaArgs {
  o: usize;
  oB: usize;
  oT: usize;
  oH: usize;
  dout: usize;
  doutB: usize;
  doutT: usize;
  doutH: usize;
  delta: usize;
  deltaB: usize;
  deltaH: usize;
  deltaT: usize;
  queries: u32;
  heads: u32;
  dims: u32;
  rowsPerTask: u32;
}

export function attentionDelta(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<DeltaArgs>(argsAddress);
  const chunks = (args.queries + args.rowsPerTask - 1) / args.rowsPerTask;
  const b = task / chunks;
  const first = (task % chunks) * args.rowsPerTask;
  const end = min(first + args.rowsPerTask, args.queries);
  const rowBytes: usize = args.dims * 4;
  for (let t = first; t < end; t++) {
    for (let h: u32 = 0; h < args.heads; h++) {
      const o = args.o + b * args.oB + t * args.oT + h * args.oH;
      const dout = args.dout + b * args.doutB + t * args.doutT + h * args.doutH;
      let sum0 = f32x4.splat(0);
      let sum1 = f32x4.splat(0);
      for (let i: usize = 0; i < rowBytes; i += 32) {
        sum0 = madd(v128.load(o + i), v128.load(dout + i), sum0);
        sum1 = madd(v128.load(o + i, 16), v128.load(dout + i, 16), sum1);
      }
      store<f32>(
        args.delta + b * args.deltaB + h * args.deltaH + t * args.deltaT,
        sumLanes(f32x4.add(sum0, sum1)),
      );
    }
  }
}
