// add: out = x + y, contiguous; out may be x or y.
//
// Grid:    one task per `perTask` elements, a multiple of 4.
// Scratch: none.
import { loadLanes, storeLanes } from "./simd.as";

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
  const end = min(first + args.perTask, args.size);
  for (let i = first; i < end; i += 4) {
    const at: usize = i << 2;
    const lanes = <i32>(end - i);
    storeLanes(args.out + at, f32x4.add(loadLanes(args.x + at, lanes), loadLanes(args.y + at, lanes)), lanes);
  }
}
