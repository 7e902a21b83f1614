// addColumnSums: out[c] += sum over n of x[n, c].
//
// Inputs:  x [N, C] and out [C], contiguous.
// Grid:    one task per `columnsPerTask` columns (a multiple of 4).
// Scratch: none.
// Numerics: float32, summed in blocks of BLOCK rows, so that long sums keep their digits.
import { loadLanes, storeLanes } from "./simd.as";

const BLOCK: i32 = 256;

@unmanaged
class AddColumnSumsArgs {
  x: usize;
  out: usize;
  N: i32;
  C: i32;
  columnsPerTask: i32;
}

export function addColumnSums(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<AddColumnSumsArgs>(argsAddress);
  const first = <i32>task * args.columnsPerTask;
  const end = min(first + args.columnsPerTask, args.C);
  const stride = (<usize>args.C) << 2;
  for (let c = first; c < end; c += 4) {
    const lanes = end - c;
    let total = f32x4.splat(0);
    let at = args.x + ((<usize>c) << 2);
    for (let n = 0; n < args.N; ) {
      const blockEnd = min(n + BLOCK, args.N);
      let sum = f32x4.splat(0);
      for (; n < blockEnd; n++) {
        sum = f32x4.add(sum, loadLanes(at, lanes));
        at += stride;
      }
      total = f32x4.add(total, sum);
    }
    const out = args.out + ((<usize>c) << 2);
    storeLanes(out, f32x4.add(loadLanes(out, lanes), total), lanes);
  }
}
