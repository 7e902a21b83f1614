// lshBuckets: bucket = argmax of [x R; -x R], the lowest on a tie.
//
// Inputs:  x [B, T, H, D], strided (bytes between neighbours of B, T and H); rotations [H, D, R]; out i32 [B, T, H].
// Grid:    one task per `positionsPerTask` positions of one (b, h).
// Scratch: rotations packed ceil(R / 8) * 8 * D', 4 packed rows of D', and their scores 4 * ceil(R / 8) * 8 floats, with
//          D' = D made even.
// Numerics: float32.
// Paper:   Kitaev, Kaiser and Levskaya, Reformer, arXiv 2001.04451 (angular hashing: Andoni et al., arXiv 1509.02897).
import { packStraight, packTurned } from "./gemm_pack.as";
import { tileProduct } from "./gemm_tile.as";

@unmanaged
class LshBucketsArgs {
  x: usize;
  xB: usize;
  xT: usize;
  xH: usize;
  rotations: usize;
  out: usize;
  T: i32;
  H: u32;
  D: i32;
  R: i32;
  positionsPerTask: i32;
}

export function lshBuckets(argsAddress: usize, task: u32, scratch: usize): void {
  const args = changetype<LshBucketsArgs>(argsAddress);
  const blocks = <u32>((args.T + args.positionsPerTask - 1) / args.positionsPerTask);
  const b = task / blocks / args.H;
  const h = (task / blocks) % args.H;
  const first = <i32>(task % blocks) * args.positionsPerTask;
  const end = min(first + args.positionsPerTask, args.T);
  const evenD = (args.D + 1) & ~1;
  const panels = (args.R + 7) >> 3;
  const panelBytes = <usize>evenD << 5;
  const packedX = scratch + panels * panelBytes;
  const scores = packedX + (<usize>evenD << 4);
  const scoreStride = <usize>panels << 5;

  const rotations = args.rotations + <usize>(<i32>h * args.D * args.R) * 4;
  for (let r = 0; r < panels * 8; r += 4) {
    const to = scratch + <usize>(r >> 3) * panelBytes + ((r & 4) << 2);
    packStraight(to, 32, rotations + (r << 2), <usize>args.R << 2, args.R - r, args.D);
  }
  const x = args.x + b * args.xB + h * args.xH;
  const out = args.out + ((<usize>b * args.T * args.H + h) << 2);
  for (let t = first; t < end; t += 4) {
    packTurned(packedX, 16, x + t * args.xT, args.xT, end - t, args.D);
    memory.fill(scores, 0, scoreStride << 2);
    for (let p = 0; p < panels; p++) {
      tileProduct(packedX, scratch + p * panelBytes, evenD, scores + (<usize>p << 5), scoreStride);
    }
    const rows = min(4, end - t);
    for (let r = 0; r < rows; r++) {
      store<i32>(out + (((t + r) * args.H) << 2), farthest(scores + r * scoreStride, args.R));
    }
  }
}

/** The place of the largest of [s; -s], the lowest on a tie. */
function farthest(scores: usize, R: i32): i32 {
  let most = load<f32>(scores);
  let mostAt = 0;
  let least = most;
  let leastAt = 0;
  for (let r = 1; r < R; r++) {
    const score = load<f32>(scores + (r << 2));
    mostAt = score > most ? r : mostAt;
    most = score > most ? score : most;
    leastAt = score < least ? r : leastAt;
    least = score < least ? score : least;
  }
  return -least > most ? R + leastAt : mostAt;
}
