// copy: out = x, both strided; one-byte granularity, so that one kernel serves every dtype.
//
// Inputs:  x and out as base addresses and byte strides over up to 6 outer dimensions; rows of `rowBytes` are contiguous.
// Grid:    one task per `rowsPerTask` rows, rows counted in row-major order of the outer dimensions.
// Scratch: none.

@unmanaged
class CopyArgs {
  x: usize;
  out: usize;
  rowBytes: u32;
  rows: u32;
  rowsPerTask: u32;
  rank: u32; // outer dimensions; sizes[rank], then xStrides[rank], then outStrides[rank] follow, in bytes
}

export function copy(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<CopyArgs>(argsAddress);
  const sizes = argsAddress + offsetof<CopyArgs>();
  const rank = args.rank;
  const xStrides = sizes + rank * 4;
  const outStrides = xStrides + rank * 4;
  const first = task * args.rowsPerTask;
  const end = min(first + args.rowsPerTask, args.rows);
  for (let row = first; row < end; row++) {
    let rest = row;
    let x = args.x;
    let out = args.out;
    for (let axis = <i32>rank - 1; axis >= 0; axis--) {
      const size = load<u32>(sizes + axis * 4);
      const index = rest % size;
      rest /= size;
      x += index * load<usize>(xStrides + axis * 4);
      out += index * load<usize>(outStrides + axis * 4);
    }
    memory.copy(out, x, args.rowBytes);
  }
}
