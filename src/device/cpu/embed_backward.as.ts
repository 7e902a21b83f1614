// embedBackward: dTokenTable[tokens[n]] += dout[n], dPositionTable[n % T] += dout[n]; tokens out of range passed over.
//
// Inputs:  tokens i32 [rows], dout [rows, C], dTokenTable [V, C], dPositionTable [T, C] or 0.
// Grid:    one task per `columnsPerTask` columns (a multiple of 4), over all rows in order: tokens repeat, and only so is
//          the order of additions fixed without a sort.
// Scratch: none.
import { loadLanes, storeLanes } from "./simd.as";

@unmanaged
class EmbedBackwardArgs {
  tokens: usize;
  dout: usize;
  dTokenTable: usize;
  dPositionTable: usize;
  rows: u32;
  T: u32;
  V: u32;
  C: i32;
  columnsPerTask: i32;
}

export function embedBackward(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<EmbedBackwardArgs>(argsAddress);
  const first = <i32>task * args.columnsPerTask;
  const end = min(first + args.columnsPerTask, args.C);
  const rowBytes = <usize>args.C << 2;
  for (let n: u32 = 0; n < args.rows; n++) {
    const token = load<u32>(args.tokens + (n << 2));
    if (token >= args.V) continue;
    addColumns(args.dTokenTable + token * rowBytes, args.dout + n * rowBytes, first, end);
    if (args.dPositionTable) {
      addColumns(args.dPositionTable + (n % args.T) * rowBytes, args.dout + n * rowBytes, first, end);
    }
  }
}

function addColumns(target: usize, source: usize, first: i32, end: i32): void {
  for (let c = first; c < end; c += 4) {
    const at = <usize>c << 2;
    const lanes = end - c;
    storeLanes(target + at, f32x4.add(loadLanes(target + at, lanes), loadLanes(source + at, lanes)), lanes);
  }
}
