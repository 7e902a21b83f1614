import type { Ops } from "../device/ops.ts";
import { threefry2x32 } from "../rng.ts";
import type { Staircase, StaircaseRule } from "../staircase/staircase.ts";
import { type Arithmetic, broadcastRow, flat, type Numbers, row } from "./values.ts";

export function sparsityOps({ sum }: Arithmetic): Pick<Ops, "lshBuckets" | "keepMask" | "staircase"> {
  return {
    lshBuckets({ out, ...args }) {
      const [B, T, H] = out.shape;
      for (let b = 0; b < B; b++) {
        for (let h = 0; h < H; h++) {
          for (let t = 0; t < T; t++) {
            const scores = hashScores(args, { b, t, h }, sum);
            row(out, b, t)[h] = firstLargest([...scores, ...scores.map((s) => -s)]);
          }
        }
      }
    },

    keepMask({ key, keep, out }) {
      const kept = flat(out);
      const [seed, stream] = flat(key);
      for (let i = 0; i < kept.length; i++) {
        kept[i] = threefry2x32([seed, stream], [i, 0])[0] < keep * 2 ** 32 ? 1 : 0;
      }
    },

    staircase({ rule, out }) {
      const [B, H] = out.lo.shape;
      const Hk = rule.kGroups?.shape[2] ?? 1;
      for (let b = 0; b < B; b++) {
        for (let h = 0; h < H; h++) buildHead(rule, out, b, h, Math.floor((h * Hk) / H));
      }
    },
  };
}

/**
 * What `lshBuckets` compares for one row: its projections v, or, with moments, these standardised. Then the moments, of v or
 * of the projections u of `relativeTo`, must be of the rows before (of none at position 0), and are afterwards those up to
 * this row (Welford, Technometrics 4, 1962).
 * @returns [R], signs as they are
 */
export function hashScores(
  { x, rotations, moments, relativeTo, firstPosition = 0 }: Omit<Parameters<Ops["lshBuckets"]>[0], "out">,
  { b, t, h }: { b: number; t: number; h: number },
  sum: Arithmetic["sum"],
): number[] {
  const xRow = row(x, b, t, h);
  const base = relativeTo ? row(relativeTo, b, t, Math.floor((h * relativeTo.shape[2]) / x.shape[2])) : xRow;
  return Array.from({ length: rotations.shape[2] }, (_, r) => {
    const project = (from: Numbers) => sum(from.length, (d) => from[d] * row(rotations, h, d)[r]);
    const v = project(xRow);
    if (!moments) return v;
    const u = base === xRow ? v : project(base);
    const [MEAN, M2] = [0, 1];
    const own = row(moments, b, h, r);
    const n = firstPosition + t + 1;
    if (n === 1) own.fill(0);
    const delta = u - own[MEAN];
    own[MEAN] += delta / n;
    own[M2] += delta * (u - own[MEAN]);
    return (v - own[MEAN]) / Math.sqrt(Math.max(own[M2] / n, 1e-12));
  });
}

function firstLargest(values: number[]): number {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}

/** What the visit order sorts by; rows that take no part come last. */
interface Place {
  readonly absent: boolean;
  readonly document: number;
  readonly group: number;
  readonly position: number;
}

function buildHead(rule: StaircaseRule, out: Staircase, b: number, h: number, hk: number): void {
  const [Tq, Tk] = [out.lo.shape[2], out.qLo.shape[2]];
  const documentAt = documentNumbers(rule, b, Tk);
  const place = (groups: Staircase["qRows"], head: number, i: number, position: number): Place => {
    const value = groups ? row(groups, groups.shape[0] === 1 ? 0 : b, i)[head] : 0;
    const absent = rule.keepMasks && groups ? value === 0 : !(value >= 0 && value < rule.groupCount);
    const group = rule.keepMasks ? 0 : value;
    return { absent, document: documentAt(position), group, position };
  };
  const queries = visitOrder(Array.from({ length: Tq }, (_, i) => place(rule.qGroups, h, i, i + Tk - Tq)));
  const keys = visitOrder(Array.from({ length: Tk }, (_, j) => place(rule.kGroups, hk, j, j)));
  if (out.qRows) broadcastRow(out.qRows, b, h).set(queries.map((query) => query.position - (Tk - Tq)));
  if (out.kRows) broadcastRow(out.kRows, b, hk).set(keys.map((key) => key.position));

  const lo = broadcastRow(out.lo, b, h);
  const hi = broadcastRow(out.hi, b, h);
  queries.forEach((query, n) => {
    lo[n] = countBefore(keys, { ...query, position: query.absent ? -Infinity : query.position - rule.far });
    hi[n] = query.absent ? lo[n] : countBefore(keys, { ...query, position: query.position - rule.near + 1 });
    if (rule.chunk !== Infinity) {
      const lastChunk = Math.floor((hi[n] - 1) / rule.chunk);
      lo[n] = Math.max(lo[n], (lastChunk - 1) * rule.chunk);
    }
  });
  readByColumns(lo, hi, broadcastRow(out.qLo, b, h), broadcastRow(out.qHi, b, h));
}

/** Counts the runs of equal ids up to a position. Queries before the first key belong to the first run. */
function documentNumbers(rule: StaircaseRule, b: number, Tk: number): (position: number) => number {
  if (!rule.documents) return () => 0;
  const ids = broadcastRow(rule.documents, b, 0);
  const numbers = new Int32Array(Tk);
  for (let j = 1; j < Tk; j++) numbers[j] = numbers[j - 1] + (ids[j] === ids[j - 1] ? 0 : 1);
  return (position) => numbers[Math.max(position, 0)] ?? 0;
}

function visitOrder(places: Place[]): Place[] {
  return places.sort(compare);
}

function compare(x: Place, y: Place): number {
  if (x.absent || y.absent) {
    return Number(x.absent) - Number(y.absent) || x.position - y.position;
  }
  return x.document - y.document || x.group - y.group || x.position - y.position;
}

/** How many of the sorted keys come before a place. */
function countBefore(keys: Place[], place: Place): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(keys[middle], place) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Key m is seen from the first query with hi > m up to the first with lo > m, because both never decrease. */
function readByColumns(lo: Numbers, hi: Numbers, qLo: Numbers, qHi: Numbers): void {
  let [first, end] = [0, 0];
  for (let m = 0; m < qLo.length; m++) {
    while (first < hi.length && hi[first] <= m) first++;
    while (end < lo.length && lo[end] <= m) end++;
    qLo[m] = first;
    qHi[m] = end;
  }
}
