// Attention forward over a staircase: o = softmax(scale * q k^T over the visible keys) v, lse = log of the sum.
//
// Inputs:  q, o [B,Tq,H,D], k, v [B,Tk,Hk,D] and lse [B,H,Tq], strided; staircase qRows, kRows, lo, hi; D a multiple of 8.
// Grid:    one task for every (tile of blockM queries, b, h), the last tiles first: under a causal mask these are longest.
// Scratch: Q and O panels 2 * blockM * D, K and V tiles 2 * blockN * D, scores 8 * blockN, lanes 4 * blockM; 4 bytes each.
// Shape:   a panel is 8 queries side by side in two v128, so that scores, maxima, sums and the rescaling of O all run
//          lane by lane and nothing is ever reduced across lanes. K and V are read by scalars and are only copied
//          together, not transposed. Key ranges and masks are per panel: at its ends a tile wastes 8 x 4 pairs, no more.
// Numbers: float32. Scores and maxima m stay unscaled sums of products, the same bits that the backward finds again;
//          p = 2^((score - m) * scale * log2(e)). Empty rows give o = 0, lse = -Infinity.
// Source:  FlashAttention-2 (Dao, arXiv 2307.08691), algorithm 1, with keys and queries exchanged in registers.

import { AttentionArgs, gatherPanels, gatherRows, rowAt, scatterPanel } from "./attention_tiles.as";
import { columnsTimesPanel, rowsTimesPanel } from "./gemm_micro.as";
import { exp2x4 } from "./simd.as";

@unmanaged
class ForwardArgs extends AttentionArgs {
  o: usize;
  oB: usize;
  oT: usize;
  oH: usize;
  merge: u32;
  blockM: u32;
  blockN: u32;
  tiles: u32;
}

const LOG2E: f32 = 1.4426950408889634;
/** Below any score, yet finite: a row that has seen nothing never meets Infinity - Infinity. */
const LOWEST: f32 = -3.0e38;

export function attentionForward(argsAddress: usize, task: u32, scratch: usize): void {
  const args = changetype<ForwardArgs>(argsAddress);
  const dims = args.dims;
  const rowBytes: usize = dims * 4;
  const blockM = args.blockM;
  const blockN = args.blockN;

  // Scratch.
  const panelBytes: usize = dims * 32;
  const qPanels = scratch;
  const oPanels = qPanels + blockM * rowBytes;
  const kTile = oPanels + blockM * rowBytes;
  const vTile = kTile + blockN * rowBytes;
  const scores = vTile + blockN * rowBytes;
  const lanes = scores + blockN * 32; // of each panel: lo[8], hi[8], m[8], l[8]

  // Which queries.
  const tile = args.tiles - 1 - task % args.tiles;
  const batchHead = task / args.tiles;
  const h = batchHead % args.heads;
  const b = batchHead / args.heads;
  const keyHead = (h * args.keyHeads) / args.heads;
  const place = tile * blockM;
  const count = min(blockM, args.queries - place);
  const panels = (count + 7) >> 3;
  const qRows = args.qRows ? args.qRows + b * args.qRowsB + h * args.qRowsH : 0;
  const kRows = args.kRows ? args.kRows + b * args.kRowsB + keyHead * args.kRowsH : 0;
  const bounds = b * args.boundsB + h * args.boundsH + place * 4;
  const lo = args.lo + bounds;
  const hi = args.hi + bounds;
  const o = args.o + b * args.oB + h * args.oH;
  const lse = args.lse + b * args.lseB + h * args.lseH;

  // Load.
  const q = args.q + b * args.qB + h * args.qH;
  gatherPanels(qPanels, dims, q, args.qT, qRows, place, count, args.sign);
  loadLanes(lanes, lo, hi, count);
  if (args.merge) {
    gatherPanels(oPanels, dims, o, args.oT, qRows, place, count, 1);
    loadState(lanes, lse, args.lseT, qRows, place, count, args.scale);
  } else {
    memory.fill(oPanels, 0, panels * panelBytes);
  }

  const toExponent = f32x4.splat(args.scale * LOG2E);
  const k = args.k + b * args.kB + keyHead * args.kH;
  const v = args.v + b * args.vB + keyHead * args.vH;
  const end = load<u32>(hi + (count - 1) * 4);
  for (let first = load<u32>(lo); first < end; first += blockN) {
    const tileEnd = min(first + blockN, end);
    gatherRows(kTile, rowBytes, k, args.kT, kRows, first, tileEnd - first);
    gatherRows(vTile, rowBytes, v, args.vT, kRows, first, tileEnd - first);
    for (let panel: u32 = 0; panel < panels; panel++) {
      const lane = lanes + panel * 128;
      const from = max(first, load<u32>(lane)); // lo of the first query
      const to = min(tileEnd, load<u32>(lane, 60)); // hi of the last
      if (from >= to) continue;
      const start = (from - first) & ~3;
      const keys = (to - first - start + 3) & ~3;

      // Scores: keys down, queries across.
      const qPanel = qPanels + panel * panelBytes;
      rowsTimesPanel(kTile + start * rowBytes, rowBytes, qPanel, 32, scores, 32, keys, dims);
      maskEnds(scores, lane, first + start, keys);

      // Online softmax.
      const m0 = v128.load(lane, 64);
      const m1 = v128.load(lane, 80);
      let new0 = m0;
      let new1 = m1;
      const scoresEnd = scores + keys * 32;
      for (let at = scores; at < scoresEnd; at += 32) {
        new0 = f32x4.pmax(new0, v128.load(at));
        new1 = f32x4.pmax(new1, v128.load(at, 16));
      }
      const factor0 = exp2x4(f32x4.mul(f32x4.sub(m0, new0), toExponent));
      const factor1 = exp2x4(f32x4.mul(f32x4.sub(m1, new1), toExponent));
      let l0 = f32x4.mul(v128.load(lane, 96), factor0);
      let l1 = f32x4.mul(v128.load(lane, 112), factor1);
      for (let at = scores; at < scoresEnd; at += 32) {
        const p0 = exp2x4(f32x4.mul(f32x4.sub(v128.load(at), new0), toExponent));
        const p1 = exp2x4(f32x4.mul(f32x4.sub(v128.load(at, 16), new1), toExponent));
        v128.store(at, p0);
        v128.store(at, p1, 16);
        l0 = f32x4.add(l0, p0);
        l1 = f32x4.add(l1, p1);
      }
      v128.store(lane, new0, 64);
      v128.store(lane, new1, 80);
      v128.store(lane, l0, 96);
      v128.store(lane, l1, 112);

      // Product: dimensions down, queries across.
      const vRows = vTile + start * rowBytes;
      const oPanel = oPanels + panel * panelBytes;
      columnsTimesPanel(vRows, rowBytes, scores, 32, oPanel, dims, keys, factor0, factor1);
    }
  }

  // Store.
  for (let panel: u32 = 0; panel < panels; panel++) {
    const lane = lanes + panel * 128;
    const at = place + panel * 8;
    const here = min<u32>(8, count - panel * 8);
    const factor0 = reciprocal(v128.load(lane, 96));
    const factor1 = reciprocal(v128.load(lane, 112));
    scatterPanel(oPanels + panel * panelBytes, dims, o, args.oT, qRows, at, here, factor0, factor1, false);
    storeLse(lane, lse, args.lseT, qRows, at, here, args.scale);
  }
}

/** Bounds and empty state of each query; lanes past the last query repeat its bounds. */
function loadLanes(lanes: usize, lo: usize, hi: usize, count: u32): void {
  const padded = (count + 7) & ~7;
  for (let i: u32 = 0; i < padded; i++) {
    const lane = lanes + (i >> 3) * 128 + (i & 7) * 4;
    const from = min(i, count - 1) * 4;
    store<u32>(lane, load<u32>(lo + from));
    store<u32>(lane, load<u32>(hi + from), 32);
    store<f32>(lane, LOWEST, 64);
    store<f32>(lane, 0, 96);
  }
}

/** State of an attention that is already there: its lse as the maximum, and a sum of 1. */
function loadState(lanes: usize, lse: usize, stride: usize, rows: usize, place: u32, count: u32, scale: f32): void {
  for (let i: u32 = 0; i < count; i++) {
    const value = load<f32>(lse + (rowAt(rows, place + i)) * stride);
    if (value == -f32.POSITIVE_INFINITY) continue;
    const lane = lanes + (i >> 3) * 128 + (i & 7) * 4;
    store<f32>(lane, value / scale, 64);
    store<f32>(lane, 1, 96);
  }
}

function storeLse(lane: usize, lse: usize, stride: usize, rows: usize, place: u32, count: u32, scale: f32): void {
  for (let i: u32 = 0; i < count; i++) {
    const l = load<f32>(lane + i * 4, 96);
    const m = load<f32>(lane + i * 4, 64);
    const value = l == 0 ? -f32.POSITIVE_INFINITY : <f32>(<f64>m * <f64>scale + Math.log(<f64>l));
    store<f32>(lse + (rowAt(rows, place + i)) * stride, value);
  }
}

/** Sets to -Infinity the scores of keys that lie outside a query's bounds; only the ends of the range can. */
function maskEnds(scores: usize, lane: usize, key: u32, keys: u32): void {
  const fullStart = min(max(load<u32>(lane, 28), key) - key, keys); // from lo of the last query
  const fullEnd = max(min(max(load<u32>(lane, 32), key) - key, keys), fullStart); // to hi of the first
  maskKeys(scores, lane, key, 0, fullStart);
  maskKeys(scores, lane, key, fullEnd, keys);
}

function maskKeys(scores: usize, lane: usize, key: u32, from: u32, to: u32): void {
  const nothing = f32x4.splat(-f32.POSITIVE_INFINITY);
  for (let i = from; i < to; i++) {
    const at = scores + i * 32;
    const here = i32x4.splat(key + i);
    for (let half: usize = 0; half < 32; half += 16) {
      const seen = v128.and(
        i32x4.ge_s(here, v128.load(lane + half)),
        i32x4.lt_s(here, v128.load(lane + half, 32)),
      );
      v128.store(at + half, v128.bitselect(v128.load(at + half), nothing, seen));
    }
  }
}

/** 1 / l, or 0 where nothing was seen. */
// @ts-ignore: decorator
@inline
function reciprocal(l: v128): v128 {
  const zero = f32x4.splat(0);
  return v128.andnot(f32x4.div(f32x4.splat(1), l), f32x4.eq(l, zero));
}
