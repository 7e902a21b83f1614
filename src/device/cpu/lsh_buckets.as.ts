// lshBuckets: bucket = argmax of [x R; -x R], the lowest on a tie.
// lshBucketsBalanced: the same of projections standardised by their running moments.
//
// Inputs:  x [B, T, H, D], strided (bytes between neighbours of B, T and H); rotations [H, D, R]; out i32 [B, T, H];
//          moments [B, H, R, 2], mean and sum of squared deviations, read if firstPosition > 0, and written; base
//          [B, T, baseHeads, D], strided: whose moments they are, x itself or another.
// Grid:    one task per `positionsPerTask` positions of one b, over all heads; balanced, one per b and head, over all
//          positions, since each row needs the moments of the one before.
// Scratch: in floats, with R' = R made a multiple of 8: packed rotations H * R' * (D + 1), 4 rows of D, scores BLOCK * R',
//          scores of 4 rows turned 4 * R', moments 2 * R', and scores of base BLOCK * R'.
// Numerics: float32. Balanced, row after row, so that the same rows give the same bits however many come at once.
// Paper:   Kitaev, Kaiser and Levskaya, Reformer, arXiv 2001.04451 (angular hashing: Andoni et al., arXiv 1509.02897);
//          moments as in Welford, Technometrics 4, 1962.
import { rowsTimesPanel } from "./gemm_micro.as";
import { packStraight } from "./gemm_pack.as";
import { storeTransposed } from "./simd.as";

@unmanaged
class LshBucketsArgs {
  x: usize;
  xB: usize;
  xT: usize;
  xH: usize;
  base: usize;
  baseB: usize;
  baseT: usize;
  baseH: usize;
  rotations: usize;
  out: usize;
  moments: usize;
  T: i32;
  H: u32;
  baseHeads: u32;
  D: i32;
  R: i32;
  positionsPerTask: i32;
  firstPosition: i32;
}

const BLOCK: i32 = 32; // rows scored at a time; lsh_buckets.ts holds the same number
const LEAST_VARIANCE: f32 = 1e-12;

export function lshBuckets(argsAddress: usize, task: u32, scratch: usize): void {
  const args = changetype<LshBucketsArgs>(argsAddress);
  const blocks = <u32>((args.T + args.positionsPerTask - 1) / args.positionsPerTask);
  const b = task / blocks;
  const first = <i32>(task % blocks) * args.positionsPerTask;
  const end = min(first + args.positionsPerTask, args.T);
  const panelBytes = <usize>((args.D + 1) & ~1) << 5;
  const headBytes = ((args.R + 7) >> 3) * panelBytes;
  const rest = scratch + args.H * headBytes;
  for (let h: u32 = 0; h < args.H; h++) {
    packRotations(args, scratch + h * headBytes, panelBytes, args.rotations + <usize>(<i32>h * args.D * args.R) * 4);
  }
  for (let t = first; t < end; t += BLOCK) {
    // Heads innermost: their rows are neighbours in memory.
    for (let h: u32 = 0; h < args.H; h++) {
      const x = args.x + b * args.xB + t * args.xT + h * args.xH;
      const out = args.out + (((<usize>b * args.T + t) * args.H + h) << 2);
      hashRows(args, x, min(BLOCK, end - t), scratch + h * headBytes, panelBytes, rest, out, 0, -1);
    }
  }
}

export function lshBucketsBalanced(argsAddress: usize, task: u32, scratch: usize): void {
  const args = changetype<LshBucketsArgs>(argsAddress);
  const b = task / args.H;
  const h = task % args.H;
  const panelBytes = <usize>((args.D + 1) & ~1) << 5;
  const rest = scratch + ((args.R + 7) >> 3) * panelBytes;
  const moments = args.moments + ((<usize>task * args.R) << 3);
  packRotations(args, scratch, panelBytes, args.rotations + <usize>(<i32>h * args.D * args.R) * 4);
  loadMoments(args, moments, momentsPlace(args, rest));
  for (let t = 0; t < args.T; t += BLOCK) {
    const x = args.x + b * args.xB + t * args.xT + h * args.xH;
    const base = args.base + b * args.baseB + t * args.baseT + ((h * args.baseHeads) / args.H) * args.baseH;
    const out = args.out + (((<usize>b * args.T + t) * args.H + h) << 2);
    hashRows(args, x, min(BLOCK, args.T - t), scratch, panelBytes, rest, out, base, args.firstPosition + t);
  }
  storeMoments(args, momentsPlace(args, rest), moments);
}

/**
 * @param base where the rows begin whose moments projections are to be standardised by
 * @param position of the first row, if they are; else -1
 */
function hashRows(
  args: LshBucketsArgs,
  x: usize,
  rows: i32,
  panels: usize,
  panelBytes: usize,
  scratch: usize,
  out: usize,
  base: usize,
  position: i32,
): void {
  const scoreStride = <usize>((args.R + 7) & ~7) << 2;
  const lastRows = scratch;
  const scores = lastRows + (<usize>args.D << 4);
  const turned = scores + BLOCK * scoreStride;
  scoreAllRows(args, x, args.xT, rows, panels, panelBytes, lastRows, scores);
  if (position >= 0) {
    const moments = momentsPlace(args, scratch);
    let baseScores = scores;
    if (base != x) {
      baseScores = moments + 2 * scoreStride;
      scoreAllRows(args, base, args.baseT, rows, panels, panelBytes, lastRows, baseScores);
    }
    for (let r = 0; r < rows; r++) {
      standardise(args, scores + r * scoreStride, baseScores + r * scoreStride, moments, position + r + 1);
    }
  }
  const outStride = <usize>args.H << 2;
  for (let r = 0; r < rows; r += 4) {
    const buckets = farthest(scores + r * scoreStride, scoreStride, args.R, turned);
    storeBuckets(out + r * outStride, outStride, buckets, rows - r);
  }
}

/** Where in the scratch of `hashRows` the running moments stand: R' means, then as many sums of squared deviations. */
// @ts-ignore: decorator
@inline
function momentsPlace(args: LshBucketsArgs, scratch: usize): usize {
  return scratch + (<usize>args.D << 4) + (BLOCK + 4) * (<usize>((args.R + 7) & ~7) << 2);
}

function loadMoments(args: LshBucketsArgs, from: usize, to: usize): void {
  const columnBytes = <usize>((args.R + 7) & ~7) << 2;
  memory.fill(to, 0, columnBytes << 1);
  if (args.firstPosition == 0) return;
  for (let r = 0; r < args.R; r++) {
    store<f32>(to + (r << 2), load<f32>(from + (r << 3)));
    store<f32>(to + columnBytes + (r << 2), load<f32>(from + (r << 3), 4));
  }
}

function storeMoments(args: LshBucketsArgs, from: usize, to: usize): void {
  const columnBytes = <usize>((args.R + 7) & ~7) << 2;
  for (let r = 0; r < args.R; r++) {
    store<f32>(to + (r << 3), load<f32>(from + (r << 2)));
    store<f32>(to + (r << 3), load<f32>(from + columnBytes + (r << 2)), 4);
  }
}

/**
 * Takes a row's projections into the moments, and replaces those in `scores` by their standardised values.
 * @param base the projections that the moments are of, in the same place or another
 * @param n rows up to this one
 */
function standardise(args: LshBucketsArgs, scores: usize, base: usize, moments: usize, n: i32): void {
  const columnBytes = <usize>((args.R + 7) & ~7) << 2;
  const share = f32x4.splat(<f32>1 / <f32>n);
  for (let at: usize = 0; at < columnBytes; at += 16) {
    const value = v128.load(base + at);
    let mean = v128.load(moments + at);
    let squares = v128.load(moments + columnBytes + at);
    const delta = f32x4.sub(value, mean);
    mean = f32x4.add(mean, f32x4.mul(delta, share));
    squares = f32x4.add(squares, f32x4.mul(delta, f32x4.sub(value, mean)));
    v128.store(moments + at, mean);
    v128.store(moments + columnBytes + at, squares);
    const variance = f32x4.max(f32x4.mul(squares, share), f32x4.splat(LEAST_VARIANCE));
    const deviation = f32x4.sub(v128.load(scores + at), mean);
    v128.store(scores + at, f32x4.div(deviation, f32x4.sqrt(variance)));
  }
}

function packRotations(args: LshBucketsArgs, panels: usize, panelBytes: usize, rotations: usize): void {
  for (let r = 0; r < ((args.R + 7) & ~7); r += 4) {
    const to = panels + <usize>(r >> 3) * panelBytes + ((r & 4) << 2);
    packStraight(to, 32, rotations + (r << 2), <usize>args.R << 2, args.R - r, args.D);
  }
}

/** Any number of rows; those that do not fill 4 by way of `lastRows`. */
function scoreAllRows(
  args: LshBucketsArgs,
  x: usize,
  xStride: usize,
  rows: i32,
  panels: usize,
  panelBytes: usize,
  lastRows: usize,
  scores: usize,
): void {
  const scoreStride = <usize>((args.R + 7) & ~7) << 2;
  const whole = rows & ~3;
  if (whole) scoreRows(args, x, xStride, whole, panels, panelBytes, scores, scoreStride);
  if (rows == whole) return;
  copyRows(lastRows, x + whole * xStride, xStride, rows - whole, args.D);
  scoreRows(args, lastRows, <usize>args.D << 2, 4, panels, panelBytes, scores + whole * scoreStride, scoreStride);
}

function scoreRows(
  args: LshBucketsArgs,
  x: usize,
  xStride: usize,
  rows: i32,
  panels: usize,
  panelBytes: usize,
  scores: usize,
  scoreStride: usize,
): void {
  for (let r = 0; r < args.R; r += 8) {
    rowsTimesPanel(x, xStride, panels, 32, scores, scoreStride, rows, args.D);
    panels += panelBytes;
    scores += 32;
  }
}

/** Fewer than 4 rows, made 4 by zeros. */
function copyRows(to: usize, from: usize, stride: usize, rows: i32, D: i32): void {
  const rowBytes = <usize>D << 2;
  memory.fill(to, 0, rowBytes << 2);
  for (let r = 0; r < rows; r++) memory.copy(to + r * rowBytes, from + r * stride, rowBytes);
}

/** For 4 rows of scores, the place of the largest of [s; -s], the lowest on a tie. */
function farthest(scores: usize, stride: usize, R: i32, turned: usize): v128 {
  for (let r = 0; r < R; r += 4) {
    const at = scores + (r << 2);
    const a = v128.load(at);
    const b = v128.load(at + stride);
    const c = v128.load(at + 2 * stride);
    const d = v128.load(at + 3 * stride);
    storeTransposed(turned + (r << 4), 16, a, b, c, d);
  }
  let most = v128.load(turned);
  let least = most;
  let mostAt = i32x4.splat(0);
  let leastAt = mostAt;
  for (let r = 1; r < R; r++) {
    const score = v128.load(turned + (r << 4));
    const here = i32x4.splat(r);
    const more = f32x4.gt(score, most);
    const less = f32x4.lt(score, least);
    mostAt = v128.bitselect(here, mostAt, more);
    most = v128.bitselect(score, most, more);
    leastAt = v128.bitselect(here, leastAt, less);
    least = v128.bitselect(score, least, less);
  }
  const opposite = f32x4.gt(f32x4.neg(least), most);
  return v128.bitselect(i32x4.add(leastAt, i32x4.splat(R)), mostAt, opposite);
}

function storeBuckets(out: usize, stride: usize, buckets: v128, rows: i32): void {
  store<i32>(out, i32x4.extract_lane(buckets, 0));
  if (rows > 1) store<i32>(out + stride, i32x4.extract_lane(buckets, 1));
  if (rows > 2) store<i32>(out + 2 * stride, i32x4.extract_lane(buckets, 2));
  if (rows > 3) store<i32>(out + 3 * stride, i32x4.extract_lane(buckets, 3));
}
