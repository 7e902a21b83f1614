// addColumnSums: out[c] += sum over n of x[n, c].
//
// Inputs:  x [N, C] and out [C], contiguous.
// Grid:    one task per `columnsPerTask` columns (a multiple of 4).
// Scratch: none.
// Numerics: float32, summed in blocks of BLOCK rows, so that long sums keep their digits.
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
  const columns = min(args.columnsPerTask, args.C - first);
  const x = args.x + (<usize>first << 2);
  const out = args.out + (<usize>first << 2);
  const whole = columns & ~3;
  for (let c = 0; c < whole; c += 4) {
    const at = <usize>c << 2;
    v128.store(out + at, f32x4.add(v128.load(out + at), sumColumns(x + at, args.N, args.C)));
  }
  for (let c = whole; c < columns; c++) {
    const at = <usize>c << 2;
    store<f32>(out + at, load<f32>(out + at) + sumColumn(x + at, args.N, args.C));
  }
}

/** Sums of 4 neighbouring columns. */
function sumColumns(at: usize, N: i32, C: i32): v128 {
  const stride = <usize>C << 2;
  let total = f32x4.splat(0);
  for (let n = 0; n < N; ) {
    const blockEnd = min(n + BLOCK, N);
    let sum = f32x4.splat(0);
    for (; n < blockEnd; n++) {
      sum = f32x4.add(sum, v128.load(at));
      at += stride;
    }
    total = f32x4.add(total, sum);
  }
  return total;
}

function sumColumn(at: usize, N: i32, C: i32): f32 {
  const stride = <usize>C << 2;
  let total: f32 = 0;
  for (let n = 0; n < N; ) {
    const blockEnd = min(n + BLOCK, N);
    let sum: f32 = 0;
    for (; n < blockEnd; n++) {
      sum += load<f32>(at);
      at += stride;
    }
    total += sum;
  }
  return total;
}
