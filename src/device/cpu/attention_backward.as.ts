// Attention backward over a staircase: dq, dk, dv from q, k, v, dout, lse and delta.
//
// Inputs:  q, dout, dq [B,Tq,H,D], k, v, dk, dv [B,Tk,Hk,D], lse, delta [B,H,Tq], strided; staircase qRows, kRows, lo, hi;
//          turns i32 [B,H,tilesM] workspace; D a multiple of 8.
// Grid:    attentionBackwardStart, one task for every (b, h, tile of blockM queries); then attentionBackward, one task for
//          every (b, key head, tile of blockN keys), with the group's query heads and their query tiles inside.
// Scratch: K^T, V^T, dK^T, dV^T panels and K rows 5 * blockN * D, Q, dO, dQ rows 3 * blockM * D, P 8 * blockM,
//          dS blockM * blockN, per row 4 * blockM; 4 bytes each.
// Shape:   a panel is 8 keys side by side. P and dS come out row by row of queries, which is the order in which
//          dV^T += dO^T P, dK^T += Q^T dS and dQ = dS K read them: nothing is transposed inside the loop.
// Order:   dq gets the shares of all key tiles in ascending order, whoever computes them: a query tile's turn names the
//          key tile that may add next. Tasks start in order of their index, and a task waits for lower ones only.
// Numbers: float32; P = exp(scale * score - lse) from the bits of the forward's scores, 0 outside the staircase. delta
//          and dP are summed in the same order, so that a query that sees one key gives exactly no gradient to scores.
// Source:  FlashAttention-2 (Dao, arXiv 2307.08691), algorithm 2: five products, dq in order instead of by atomic adds.

import { AttentionArgs, gatherPanels, gatherRows, rowAt, scatterPanel } from "./attention_tiles.as";
import { columnsTimesPanel, rowsTimesPanel } from "./gemm_micro.as";
import { exp2x4, madd } from "./simd.as";

@unmanaged
class BackwardArgs extends AttentionArgs {
  dout: usize;
  doutB: usize;
  doutT: usize;
  doutH: usize;
  dq: usize;
  dqB: usize;
  dqT: usize;
  dqH: usize;
  dk: usize;
  dkB: usize;
  dkT: usize;
  dkH: usize;
  dv: usize;
  dvB: usize;
  dvT: usize;
  dvH: usize;
  delta: usize;
  deltaB: usize;
  deltaH: usize;
  deltaT: usize;
  turns: usize;
  accumulateQ: u32;
  accumulateKV: u32;
  blockM: u32;
  blockN: u32;
  queryTiles: u32;
  keyTiles: u32;
}

const LOG2E: f32 = 1.4426950408889634;
/** Polls before a thread sleeps until its turn at a query tile. */
const SPINS: i32 = 4000;

/** Gives each query tile's first turn to its first key tile; zeroes the dq of a tile that sees no key. */
export function attentionBackwardStart(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<BackwardArgs>(argsAddress);
  const tile = task % args.queryTiles;
  const batchHead = task / args.queryTiles;
  const h = batchHead % args.heads;
  const b = batchHead / args.heads;
  const place = tile * args.blockM;
  const count = min(args.blockM, args.queries - place);
  const bounds = b * args.boundsB + h * args.boundsH + place * 4;
  const lo = load<u32>(args.lo + bounds);
  const hi = load<u32>(args.hi + bounds + (count - 1) * 4);
  store<u32>(args.turns + task * 4, lo / args.blockN);
  if (lo < hi || args.accumulateQ) return;
  const rows = args.qRows ? args.qRows + b * args.qRowsB + h * args.qRowsH : 0;
  const dq = args.dq + b * args.dqB + h * args.dqH;
  for (let i: u32 = 0; i < count; i++) memory.fill(dq + rowAt(rows, place + i) * args.dqT, 0, args.dims * 4);
}

/** Where a thread keeps what its task works on. */
@unmanaged
class Scratch {
  kPanels: usize; // K^T, times the sign of the scale
  vPanels: usize;
  dkPanels: usize;
  dvPanels: usize;
  kTile: usize;
  qTile: usize;
  doutTile: usize;
  dqTile: usize;
  p: usize; // [blockM][8], of one panel
  ds: usize; // [blockM][blockN]
  lse: usize; // of each row
  delta: usize;
  lo: usize;
  hi: usize;
}

export function attentionBackward(argsAddress: usize, task: u32, scratchAddress: usize): void {
  const args = changetype<BackwardArgs>(argsAddress);
  const scratch = layOut(args, scratchAddress);
  const dims = args.dims;
  const rowBytes: usize = dims * 4;
  const keyTile = task % args.keyTiles;
  const batchHead = task / args.keyTiles;
  const keyHead = batchHead % args.keyHeads;
  const b = batchHead / args.keyHeads;
  const place = keyTile * args.blockN;
  const count = min(args.blockN, args.keys - place);
  const kRows = args.kRows ? args.kRows + b * args.kRowsB + keyHead * args.kRowsH : 0;

  // Load.
  const k = args.k + b * args.kB + keyHead * args.kH;
  const v = args.v + b * args.vB + keyHead * args.vH;
  const panels = (count + 7) >> 3;
  gatherPanels(scratch.kPanels, dims, k, args.kT, kRows, place, count, args.sign);
  gatherPanels(scratch.vPanels, dims, v, args.vT, kRows, place, count, 1);
  gatherRows(scratch.kTile, rowBytes, k, args.kT, kRows, place, count);
  memory.fill(scratch.kTile + count * rowBytes, 0, (panels * 8 - count) * rowBytes);
  memory.fill(scratch.dkPanels, 0, panels * 8 * rowBytes);
  memory.fill(scratch.dvPanels, 0, panels * 8 * rowBytes);

  const group = args.heads / args.keyHeads;
  for (let h = keyHead * group; h < (keyHead + 1) * group; h++) {
    const bounds = b * args.boundsB + h * args.boundsH;
    for (let tile: u32 = 0; tile < args.queryTiles; tile++) {
      // Looked at one by one, so that a tile's turns never skip a key tile, whatever the bounds say.
      const lo = load<u32>(args.lo + bounds + tile * args.blockM * 4);
      const hi = load<u32>(args.hi + bounds + (min((tile + 1) * args.blockM, args.queries) - 1) * 4);
      if (lo < hi && lo < place + count && hi > place) queryTile(args, scratch, b, h, tile, place, count);
    }
  }

  // Store.
  const dk = args.dk + b * args.dkB + keyHead * args.dkH;
  const dv = args.dv + b * args.dvB + keyHead * args.dvH;
  const scale = f32x4.splat(args.scale * args.sign);
  const one = f32x4.splat(1);
  const add = args.accumulateKV != 0;
  for (let panel: u32 = 0; panel < panels; panel++) {
    const at = panel * 8;
    const here = min<u32>(8, count - at);
    scatterPanel(scratch.dkPanels + at * rowBytes, dims, dk, args.dkT, kRows, place + at, here, scale, scale, add);
    scatterPanel(scratch.dvPanels + at * rowBytes, dims, dv, args.dvT, kRows, place + at, here, one, one, add);
  }
}

/** One tile of queries against the task's keys at `keyPlace`. */
function queryTile(
  args: BackwardArgs,
  scratch: Scratch,
  b: u32,
  h: u32,
  tile: u32,
  keyPlace: u32,
  keyCount: u32,
): void {
  const dims = args.dims;
  const rowBytes: usize = dims * 4;
  const place = tile * args.blockM;
  const count = min(args.blockM, args.queries - place);
  const rows = (count + 3) & ~3;
  const qRows = args.qRows ? args.qRows + b * args.qRowsB + h * args.qRowsH : 0;
  const dsStride: usize = args.blockN * 4;

  // Load.
  gatherRows(scratch.qTile, rowBytes, args.q + b * args.qB + h * args.qH, args.qT, qRows, place, count);
  gatherRows(scratch.doutTile, rowBytes, args.dout + b * args.doutB + h * args.doutH, args.doutT, qRows, place, count);
  loadRows(args, scratch, b, h, qRows, place, count);

  const one = f32x4.splat(1);
  let first: u32 = 0; // rows of 4-row groups that see any key of the panel: from here
  let end: u32 = 0; // to here
  for (let key: u32 = 0; key < keyCount; key += 8) {
    const at = keyPlace + key;
    while (first < rows && load<u32>(scratch.hi + (first + 3) * 4) <= at) first += 4;
    while (end < rows && load<u32>(scratch.lo + end * 4) < at + 8) end += 4;
    if (first >= end) continue;
    const seeing = end - first;
    const q = scratch.qTile + first * rowBytes;
    const dout = scratch.doutTile + first * rowBytes;
    const ds = scratch.ds + first * dsStride + key * 4;

    // Scores and their gradients: queries down, keys across.
    rowsTimesPanel(q, rowBytes, scratch.kPanels + key * rowBytes, 32, scratch.p, 32, seeing, dims);
    rowsTimesPanel(dout, rowBytes, scratch.vPanels + key * rowBytes, 32, ds, dsStride, seeing, dims);
    softmaxGradient(scratch, first, end, at, dsStride, key * 4, args.scale);

    // Products into the task's own keys: dimensions down, keys across.
    const dv = scratch.dvPanels + key * rowBytes;
    columnsTimesPanel(dout, rowBytes, scratch.p, 32, dv, dims, seeing, one, one);
    const dk = scratch.dkPanels + key * rowBytes;
    columnsTimesPanel(q, rowBytes, ds, dsStride, dk, dims, seeing, one, one);
  }

  // Product into the queries.
  const keysHere = (keyCount + 7) & ~7;
  for (let row: u32 = 0; row < rows; row += 4) {
    const lo = max(load<u32>(scratch.lo + row * 4), keyPlace) - keyPlace;
    const hi = max(load<u32>(scratch.hi + (row + 3) * 4), keyPlace) - keyPlace;
    const from = lo & ~7;
    const to = min((hi + 7) & ~7, keysHere);
    const dq = scratch.dqTile + row * rowBytes;
    if (from >= to) {
      memory.fill(dq, 0, 4 * rowBytes);
      continue;
    }
    const ds = scratch.ds + row * dsStride + from * 4;
    const k = scratch.kTile + from * rowBytes;
    for (let d: usize = 0; d < rowBytes; d += 32) {
      rowsTimesPanel(ds, dsStride, k + d, rowBytes, dq + d, rowBytes, 4, to - from);
    }
  }
  addQueries(args, scratch, b, h, tile, keyPlace / args.blockN, qRows, place, count);
}

/** What the tile needs of each query; rows that fill up the last group of 4 see nothing. */
function loadRows(args: BackwardArgs, scratch: Scratch, b: u32, h: u32, rows: usize, place: u32, count: u32): void {
  const bounds = b * args.boundsB + h * args.boundsH + place * 4;
  const lse = args.lse + b * args.lseB + h * args.lseH;
  const delta = args.delta + b * args.deltaB + h * args.deltaH;
  for (let i: u32 = 0; i < count; i++) {
    const row = rowAt(rows, place + i);
    store<f32>(scratch.lse + i * 4, load<f32>(lse + row * args.lseT));
    store<f32>(scratch.delta + i * 4, load<f32>(delta + row * args.deltaT));
    store<u32>(scratch.lo + i * 4, load<u32>(args.lo + bounds + i * 4));
    store<u32>(scratch.hi + i * 4, load<u32>(args.hi + bounds + i * 4));
  }
  const last = load<u32>(scratch.hi + (count - 1) * 4);
  for (let i = count; i & 3; i++) {
    store<f32>(scratch.lse + i * 4, 0);
    store<f32>(scratch.delta + i * 4, 0);
    store<u32>(scratch.lo + i * 4, last);
    store<u32>(scratch.hi + i * 4, last);
  }
}

/** P = exp(scale S - lse) in place of S, and dS = P (dP - delta) in place of dP, for one panel of 8 keys from `key` on. */
function softmaxGradient(scratch: Scratch, first: u32, end: u32, key: u32, dsStride: usize, dsOffset: usize, scale: f32): void {
  const scales = f32x4.splat(scale);
  const log2e = f32x4.splat(LOG2E);
  let p = scratch.p;
  let ds = scratch.ds + first * dsStride + dsOffset;
  const keys0 = i32x4.add(i32x4.splat(key), i32x4(0, 1, 2, 3));
  const keys1 = i32x4.add(keys0, i32x4.splat(4));
  for (let row = first; row < end; row++) {
    const lse = v128.load32_splat(scratch.lse + row * 4);
    const delta = v128.load32_splat(scratch.delta + row * 4);
    let p0 = exp2x4(f32x4.mul(f32x4.sub(f32x4.mul(v128.load(p), scales), lse), log2e));
    let p1 = exp2x4(f32x4.mul(f32x4.sub(f32x4.mul(v128.load(p, 16), scales), lse), log2e));
    if (load<u32>(scratch.lo + row * 4) > key || load<u32>(scratch.hi + row * 4) < key + 8) {
      // By bits, so that what a row with lse = -Infinity made of it vanishes too.
      const lo = v128.load32_splat(scratch.lo + row * 4);
      const hi = v128.load32_splat(scratch.hi + row * 4);
      p0 = v128.and(p0, v128.and(i32x4.ge_s(keys0, lo), i32x4.lt_s(keys0, hi)));
      p1 = v128.and(p1, v128.and(i32x4.ge_s(keys1, lo), i32x4.lt_s(keys1, hi)));
    }
    v128.store(p, p0);
    v128.store(p, p1, 16);
    v128.store(ds, f32x4.mul(p0, f32x4.sub(v128.load(ds), delta)));
    v128.store(ds, f32x4.mul(p1, f32x4.sub(v128.load(ds, 16), delta)), 16);
    p += 32;
    ds += dsStride;
  }
}

/** Adds the tile's share to dq when it is this key tile's turn, then passes the turn on. */
function addQueries(
  args: BackwardArgs,
  scratch: Scratch,
  b: u32,
  h: u32,
  tile: u32,
  keyTile: u32,
  rows: usize,
  place: u32,
  count: u32,
): void {
  const turn = args.turns + ((b * args.heads + h) * args.queryTiles + tile) * 4;
  awaitTurn(turn, keyTile);
  const lo = load<u32>(args.lo + b * args.boundsB + h * args.boundsH + place * 4);
  const add = args.accumulateQ != 0 || lo / args.blockN < keyTile;
  const rowBytes: usize = args.dims * 4;
  const scale = f32x4.splat(args.scale * args.sign);
  const dq = args.dq + b * args.dqB + h * args.dqH;
  let from = scratch.dqTile;
  for (let i: u32 = 0; i < count; i++) {
    const row = dq + rowAt(rows, place + i) * args.dqT;
    for (let to = row; to < row + rowBytes; to += 16) {
      const before = add ? v128.load(to) : f32x4.splat(0);
      v128.store(to, madd(v128.load(from), scale, before));
      from += 16;
    }
  }
  atomic.store<u32>(turn, keyTile + 1);
  atomic.notify(turn, -1);
}

function awaitTurn(turn: usize, keyTile: u32): void {
  for (;;) {
    let now = atomic.load<u32>(turn);
    for (let i = 0; i < SPINS && now != keyTile; i++) now = atomic.load<u32>(turn);
    if (now == keyTile) return;
    atomic.wait<i32>(turn, now, -1);
  }
}

function layOut(args: BackwardArgs, address: usize): Scratch {
  const scratch = changetype<Scratch>(address);
  const keyBytes: usize = args.blockN * args.dims * 4;
  const queryBytes: usize = args.blockM * args.dims * 4;
  scratch.kPanels = address + 64;
  scratch.vPanels = scratch.kPanels + keyBytes;
  scratch.dkPanels = scratch.vPanels + keyBytes;
  scratch.dvPanels = scratch.dkPanels + keyBytes;
  scratch.kTile = scratch.dvPanels + keyBytes;
  scratch.qTile = scratch.kTile + keyBytes;
  scratch.doutTile = scratch.qTile + queryBytes;
  scratch.dqTile = scratch.doutTile + queryBytes;
  scratch.p = scratch.dqTile + queryBytes;
  scratch.ds = scratch.p + args.blockM * 32;
  scratch.lse = scratch.ds + args.blockM * args.blockN * 4;
  scratch.delta = scratch.lse + args.blockM * 4;
  scratch.lo = scratch.delta + args.blockM * 4;
  scratch.hi = scratch.lo + args.blockM * 4;
  return scratch;
}
