// attentionDelta: delta = sum over D of dout * o, one number for each query and head.
//
// Inputs:  o, dout [B,T,H,D] strided, D a multiple of 4; delta [B,H,T] strided. Strides in bytes.
// Grid:    one task for `rowsPerTask` positions of one b, all heads.
// Scratch: none.
// Numbers: float32, summed from the first dimension to the last as the backward sums dout * v: where a query sees one
//          key, o is that value, and the two sums are the same bits.

import { madd } from "./simd.as";

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
  for (let t = first; t < end; t += 4) {
    for (let h: u32 = 0; h < args.heads; h++) {
      const o = args.o + b * args.oB + t * args.oT + h * args.oH;
      const dout = args.dout + b * args.doutB + t * args.doutT + h * args.doutH;
      const delta = args.delta + b * args.deltaB + t * args.deltaT + h * args.deltaH;
      fourRows(o, args.oT, dout, args.doutT, delta, args.deltaT, args.dims * 4, min(4, end - t));
    }
  }
}

/** Sums for up to four rows, side by side in one vector; rows past `count` repeat the last. */
function fourRows(
  o: usize,
  oStride: usize,
  dout: usize,
  doutStride: usize,
  delta: usize,
  deltaStride: usize,
  rowBytes: usize,
  count: u32,
): void {
  const last = count - 1;
  const o1 = o + min(1, last) * oStride;
  const o2 = o + min(2, last) * oStride;
  const o3 = o + min(3, last) * oStride;
  const dout1 = dout + min(1, last) * doutStride;
  const dout2 = dout + min(2, last) * doutStride;
  const dout3 = dout + min(3, last) * doutStride;
  let sums = f32x4.splat(0);
  for (let i: usize = 0; i < rowBytes; i += 16) {
    // 4 x 4 transposes, so that each dimension is one step of all four sums.
    let a = v128.load(o + i);
    let b = v128.load(o1 + i);
    let c = v128.load(o2 + i);
    let d = v128.load(o3 + i);
    const oLow0 = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
    const oLow1 = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
    const oHigh0 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const oHigh1 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
    a = v128.load(dout + i);
    b = v128.load(dout1 + i);
    c = v128.load(dout2 + i);
    d = v128.load(dout3 + i);
    const low0 = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
    const low1 = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
    const high0 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const high1 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
    sums = madd(v128.shuffle<f64>(low0, low1, 0, 2), v128.shuffle<f64>(oLow0, oLow1, 0, 2), sums);
    sums = madd(v128.shuffle<f64>(low0, low1, 1, 3), v128.shuffle<f64>(oLow0, oLow1, 1, 3), sums);
    sums = madd(v128.shuffle<f64>(high0, high1, 0, 2), v128.shuffle<f64>(oHigh0, oHigh1, 0, 2), sums);
    sums = madd(v128.shuffle<f64>(high0, high1, 1, 3), v128.shuffle<f64>(oHigh0, oHigh1, 1, 3), sums);
  }
  store<f32>(delta, f32x4.extract_lane(sums, 0));
  if (count > 1) store<f32>(delta + deltaStride, f32x4.extract_lane(sums, 1));
  if (count > 2) store<f32>(delta + 2 * deltaStride, f32x4.extract_lane(sums, 2));
  if (count > 3) store<f32>(delta + 3 * deltaStride, f32x4.extract_lane(sums, 3));
}
