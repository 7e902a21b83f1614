// embed: out[b, t] = tokenTable[tokens[b, t]] + positionTable[firstPosition + t]; NaN rows for tokens out of range.
//
// Inputs:  tokens i32 [B, T], tokenTable [V, C], positionTable (from firstPosition on) [T, C] or 0, out [B, T, C].
// Grid:    one task per `rowsPerTask` rows of out.
// Scratch: none.
import { loadTail, storeTail } from "./simd.as";

@unmanaged
class EmbedArgs {
  tokens: usize;
  tokenTable: usize;
  positionTable: usize;
  out: usize;
  rows: u32; // B * T
  T: u32;
  V: u32;
  C: i32;
  rowsPerTask: u32;
}

export function embed(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<EmbedArgs>(argsAddress);
  const first = task * args.rowsPerTask;
  const end = min(first + args.rowsPerTask, args.rows);
  const rowBytes = <usize>args.C << 2;
  for (let n = first; n < end; n++) {
    const token = load<u32>(args.tokens + (n << 2));
    const out = args.out + n * rowBytes;
    if (token >= args.V) {
      for (let c: usize = 0; c < rowBytes; c += 4) store<f32>(out + c, f32.NaN);
      continue;
    }
    const row = args.tokenTable + token * rowBytes;
    if (!args.positionTable) {
      memory.copy(out, row, rowBytes);
      continue;
    }
    const position = args.positionTable + (n % args.T) * rowBytes;
    const whole = <usize>(args.C & ~3) << 2;
    for (let c: usize = 0; c < whole; c += 16) {
      v128.store(out + c, f32x4.add(v128.load(row + c), v128.load(position + c)));
    }
    const tail = args.C & 3;
    if (tail) storeTail(out + whole, f32x4.add(loadTail(row + whole, tail), loadTail(position + whole, tail)), tail);
  }
}
