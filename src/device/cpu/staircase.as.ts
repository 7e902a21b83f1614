// staircase: visit order, intervals and columns of each head, by a StaircaseRule (staircase.ts says what that means).
//
// Inputs:  documents [B, Tk], qGroups [B, Tq, H], kGroups [B, Tk, Hk], each i32, strided (bytes), or 0.
// Outputs: qRows [B, H, Tq], kRows [B, Hk, Tk] (each or 0), lo, hi [B, H, Tq], qLo, qHi [B, H, Tk], contiguous.
// Grid:    one task per (b, h). Heads that share a key head sort its keys each for itself; the first writes kRows.
// Scratch: 8 (Tq + Tk) bytes of places, 4 Tk of document numbers, 4 groupCount of counters.
// Method:  a stable counting sort by group within each document, and two pointers that only move forward: O(T) but for
//          groupCount counters a document.

@unmanaged
class StaircaseArgs {
  documents: usize;
  documentsB: usize;
  qGroups: usize;
  qGroupsB: usize;
  qGroupsT: usize;
  kGroups: usize;
  kGroupsB: usize;
  kGroupsT: usize;
  H: u32;
  Hk: u32;
  Tq: i32;
  Tk: i32;
  groupCount: u32;
  keepMasks: u32;
  near: i32; // the largest i32 for Infinity
  far: i32;
  chunk: i32; // 0 for Infinity
  qRows: usize;
  kRows: usize;
  lo: usize;
  hi: usize;
  qLo: usize;
  qHi: usize;
}

// A place is what the visit order sorts by, in one number: the block (document, group) above, the row below.
const BLOCK_SHIFT: i64 = 32;
const ABSENT: i64 = 0x7fffffff;

export function staircase(argsAddress: usize, task: u32, scratch: usize): void {
  const args = changetype<StaircaseArgs>(argsAddress);
  const b = task / args.H;
  const h = task % args.H;
  const headsPerKeyHead = args.H / args.Hk;
  const hk = h / headsPerKeyHead;
  const Tq = args.Tq;
  const Tk = args.Tk;
  const queries = scratch;
  const keys = queries + (<usize>Tq << 3);
  const documents = args.documents ? keys + (<usize>Tk << 3) : 0;
  const counters = keys + (<usize>Tk << 3) + (<usize>Tk << 2);

  if (documents) numberDocuments(documents, args.documents + b * args.documentsB, Tk);
  const qGroups = args.qGroups ? args.qGroups + b * args.qGroupsB + (h << 2) : 0;
  const kGroups = args.kGroups ? args.kGroups + b * args.kGroupsB + (hk << 2) : 0;
  const queriesInPlay = sort(args, queries, qGroups, args.qGroupsT, Tq, documents, Tk - Tq, counters);
  const keysInPlay = sort(args, keys, kGroups, args.kGroupsT, Tk, documents, 0, counters);

  if (args.qRows) writeRows(args.qRows + (<usize>task * Tq << 2), queries, Tq);
  if (args.kRows && h % headsPerKeyHead == 0) {
    writeRows(args.kRows + (<usize>(b * args.Hk + hk) * Tk << 2), keys, Tk);
  }
  const lo = args.lo + (<usize>task * Tq << 2);
  const hi = args.hi + (<usize>task * Tq << 2);
  writeIntervals(args, lo, hi, queries, queriesInPlay, keys, keysInPlay);
  writeColumns(args.qLo + (<usize>task * Tk << 2), lo, hi, Tq, Tk, false);
  writeColumns(args.qHi + (<usize>task * Tk << 2), lo, hi, Tq, Tk, true);
}

/** Numbers the runs of equal ids 0, 1, 2, ... */
function numberDocuments(numbers: usize, ids: usize, Tk: i32): void {
  let number = 0;
  for (let j = 0; j < Tk; j++) {
    const at = <usize>j << 2;
    if (j > 0 && load<i32>(ids + at) != load<i32>(ids + at - 4)) number++;
    store<i32>(numbers + at, number);
  }
}

/** The group of a row, or what is no group's number. */
// @ts-ignore: decorator
@inline
function groupOf(args: StaircaseArgs, groups: usize, stride: usize, row: i32): u32 {
  if (!groups) return 0;
  const value = load<u32>(groups + <usize>row * stride);
  return args.keepMasks ? (value ? 0 : <u32>-1) : value;
}

/** Writes the places of all rows in visit order, those out of play last. @returns how many are in play */
function sort(
  args: StaircaseArgs,
  places: usize,
  groups: usize,
  stride: usize,
  T: i32,
  documents: usize,
  shift: i32,
  counters: usize,
): i32 {
  const groupCount = args.groupCount;
  let place = 0;
  let row = 0;
  while (row < T) {
    const document = documents ? load<i32>(documents + (<usize>max(row + shift, 0) << 2)) : 0;
    const end = documents ? endOfDocument(documents, row, T, shift, document) : T;
    memory.fill(counters, 0, groupCount << 2);
    for (let i = row; i < end; i++) {
      const group = groupOf(args, groups, stride, i);
      if (group < groupCount) {
        const counter = counters + (group << 2);
        store<i32>(counter, load<i32>(counter) + 1);
      }
    }
    for (let group: u32 = 0; group < groupCount; group++) {
      const counter = counters + (group << 2);
      const count = load<i32>(counter);
      store<i32>(counter, place);
      place += count;
    }
    for (let i = row; i < end; i++) {
      const group = groupOf(args, groups, stride, i);
      if (group >= groupCount) continue;
      const counter = counters + (group << 2);
      const at = load<i32>(counter);
      store<i32>(counter, at + 1);
      store<i64>(places + (<usize>at << 3), ((<i64>document * groupCount + group) << BLOCK_SHIFT) | i);
    }
    row = end;
  }
  let last = place;
  for (let i = 0; last < T; i++) {
    if (groupOf(args, groups, stride, i) < groupCount) continue;
    store<i64>(places + (<usize>last << 3), (ABSENT << BLOCK_SHIFT) | i);
    last++;
  }
  return place;
}

function endOfDocument(documents: usize, row: i32, T: i32, shift: i32, document: i32): i32 {
  let end = row + 1;
  while (end < T && load<i32>(documents + (<usize>max(end + shift, 0) << 2)) == document) end++;
  return end;
}

function writeRows(rows: usize, places: usize, T: i32): void {
  for (let n = 0; n < T; n++) store<i32>(rows + (<usize>n << 2), load<i32>(places + (<usize>n << 3)));
}

function writeIntervals(
  args: StaircaseArgs,
  lo: usize,
  hi: usize,
  queries: usize,
  queriesInPlay: i32,
  keys: usize,
  keysInPlay: i32,
): void {
  const shift = args.Tk - args.Tq;
  const end = keys + (<usize>keysInPlay << 3);
  let first = keys;
  let last = keys;
  for (let n = 0; n < queriesInPlay; n++) {
    const place = load<i64>(queries + (<usize>n << 3));
    const block = place & ~0xffffffff;
    const position = <i64>(<i32>place + shift);
    // Limits stay within the block: no key stands before position 0.
    const from = block | max<i64>(position - args.far, 0);
    const to = block | max<i64>(position - args.near + 1, 0);
    while (first < end && load<i64>(first) < from) first += 8;
    while (last < end && load<i64>(last) < to) last += 8;
    let seenFrom = <i32>((first - keys) >> 3);
    const seenTo = <i32>((last - keys) >> 3);
    if (args.chunk && seenTo > 0) seenFrom = max(seenFrom, ((seenTo - 1) / args.chunk - 1) * args.chunk);
    store<i32>(lo + (<usize>n << 2), seenFrom);
    store<i32>(hi + (<usize>n << 2), seenTo);
  }
  for (let n = queriesInPlay; n < args.Tq; n++) {
    store<i32>(lo + (<usize>n << 2), keysInPlay);
    store<i32>(hi + (<usize>n << 2), keysInPlay);
  }
}

/** For each key m, the first query with hi > m, or, for the end of the run, with lo > m. */
function writeColumns(out: usize, lo: usize, hi: usize, Tq: i32, Tk: i32, isEnd: bool): void {
  const bounds = isEnd ? lo : hi;
  let n = 0;
  for (let m = 0; m < Tk; m++) {
    while (n < Tq && load<i32>(bounds + (<usize>n << 2)) <= m) n++;
    store<i32>(out + (<usize>m << 2), n);
  }
}
