// fill: out = value, contiguous.
//
// Inputs:  out as an address and a length in bytes, the value's bits repeated to 4 bytes.
// Grid:    one task per `bytesPerTask` bytes, a multiple of 16.
// Scratch: none.

@unmanaged
class FillArgs {
  out: usize;
  bytes: u32;
  bytesPerTask: u32;
  bits: u32;
}

export function fill(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<FillArgs>(argsAddress);
  const first = task * args.bytesPerTask;
  let at = args.out + first;
  const end = at + min(args.bytesPerTask, args.bytes - first);
  const bits = args.bits;
  const vector = i32x4.splat(bits);
  for (; at + 16 <= end; at += 16) v128.store(at, vector);
  for (; at + 4 <= end; at += 4) store<u32>(at, bits);
  if (at < end) store<u16>(at, <u16>bits);
}
