// embedBackward: dTokenTable[tokens[n]] += dout[n], dPositionTable[n % T] += dout[n]; tokens out of range passed over.
//
// Inputs:  tokens i32 [rows], dout [rows, C], dTokenTable [V, C], dPositionTable [T, C] or 0.
// Grid:    one task per `columnsPerTask` columns (a multiple of 4), over all rows in order: tokens repeat, and only so is
//          the order of additions fixed without a sort.
// Scratch: none.
import { loadTail, storeTail } from "./simd.as";

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
  const first = <usize>(<i32>task * args.columnsPerTask) << 2;
  const columns = min(args.columnsPerTask, args.C - <i32>task * args.columnsPerTask);
  const rowBytes = <usize>args.C << 2;
  for (let n: u32 = 0; n < args.rows; n++) {
    const token = load<u32>(args.tokens + (n << 2));
    if (token >= args.V) continue;
    const source = args.dout + n * rowBytes + first;
    addColumns(args.dTokenTable + token * rowBytes + first, source, columns);
    if (args.dPositionTable) addColumns(args.dPositionTable + (n % args.T) * rowBytes + first, source, columns);
  }
}

function addColumns(target: usize, source: usize, columns: i32): void {
  const end = target + ((columns & ~3) << 2);
  while (target < end) {
    v128.store(target, f32x4.add(v128.load(target), v128.load(source)));
    target += 16;
    source += 16;
  }
  const tail = columns & 3;
  if (tail) storeTail(target, f32x4.add(loadTail(target, tail), loadTail(source, tail)), tail);
}
