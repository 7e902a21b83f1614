// add: out = x + y, contiguous; out may be x or y.
//
// Grid:    one task per `perTask` elements, a multiple of 4.
// Scratch: none.
import { loadTail, storeTail } from "./simd.as";

@unmanaged
class AddArgs {
  x: usize;
  y: usize;
  out: usize;
  size: u32;
  perTask: u32;
}

export function add(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<AddArgs>(argsAddress);
  const first = task * args.perTask;
  const count = <i32>min(args.perTask, args.size - first);
  let x = args.x + (first << 2);
  let y = args.y + (first << 2);
  let out = args.out + (first << 2);
  const end = out + ((count & ~3) << 2);
  while (out < end) {
    v128.store(out, f32x4.add(v128.load(x), v128.load(y)));
    x += 16;
    y += 16;
    out += 16;
  }
  const tail = count & 3;
  if (tail) storeTail(out, f32x4.add(loadTail(x, tail), loadTail(y, tail)), tail);
}
