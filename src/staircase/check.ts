import { ShapeError } from "../errors.ts";
import type { HostStaircase } from "./staircase.ts";

/** A staircase as a user writes it: rows that take no part may be left out. */
export interface PartialStaircase {
  /** The visited query rows in visit order; all rows in their own order if left out. */
  readonly qRows?: Int32Array;
  /** The visited key rows in visit order; all rows in their own order if left out. */
  readonly kRows?: Int32Array;
  /** First place seen by each visited query. */
  readonly lo: Int32Array;
  /** One past the last place seen by each visited query. */
  readonly hi: Int32Array;
}

/**
 * Says what is wrong with a staircase, and completes it: rows that `qRows` or `kRows` leave out are appended, unseeing
 * and unseen.
 * @throws ShapeError that names the first fault: wrong lengths, a row out of range or named twice, an interval out of
 * range or turned round, `lo` or `hi` decreasing
 */
export function checkStaircase(partial: PartialStaircase, { Tq, Tk }: { Tq: number; Tk: number }): HostStaircase {
  for (const name of ["qRows", "kRows", "lo", "hi"] as const) {
    const array: unknown = partial[name];
    if (!(array instanceof Int32Array) && (array !== undefined || name === "lo" || name === "hi")) {
      throw fault(`${name} is an Int32Array`, describe(array));
    }
  }
  const qRows = completeRows("qRows", partial.qRows, Tq);
  const kRows = completeRows("kRows", partial.kRows, Tk);
  const queries = partial.qRows?.length ?? Tq;
  const keys = partial.kRows?.length ?? Tk;
  checkIntervals(partial, { queries, keys });

  const lo = new Int32Array(Tq).fill(partial.hi[queries - 1] ?? 0);
  const hi = lo.slice();
  lo.set(partial.lo);
  hi.set(partial.hi);
  return { qRows, kRows, lo, hi };
}

/** The given rows, then all others in their own order. */
function completeRows(name: string, rows: Int32Array | undefined, length: number): Int32Array {
  if (rows === undefined) return Int32Array.from({ length }, (_, row) => row);
  if (rows.length > length) {
    throw fault(`${name} names each of the ${length} rows at most once`, `${rows.length} rows`);
  }
  const seenAt = new Int32Array(length).fill(-1);
  for (let n = 0; n < rows.length; n++) {
    const row = rows[n];
    if (row < 0 || row >= length) throw fault(`${name} holds rows 0 to ${length - 1}`, `${row} at place ${n}`);
    if (seenAt[row] >= 0) throw fault(`${name} names no row twice`, `row ${row} at places ${seenAt[row]} and ${n}`);
    seenAt[row] = n;
  }
  const complete = new Int32Array(length);
  complete.set(rows);
  let place = rows.length;
  for (let row = 0; row < length; row++) if (seenAt[row] < 0) complete[place++] = row;
  return complete;
}

function checkIntervals({ lo, hi }: PartialStaircase, { queries, keys }: { queries: number; keys: number }): void {
  for (const [name, ends] of Object.entries({ lo, hi })) {
    if (ends.length !== queries) {
      throw fault(`${name} has one entry for each of the ${queries} visited queries`, `${ends.length}`);
    }
    for (let n = 0; n < queries; n++) {
      const end = ends[n];
      if (end < 0 || end > keys) {
        throw fault(`${name} lies between 0 and the ${keys} visited keys`, `${name}[${n}] = ${end}`);
      }
      if (n > 0 && end < ends[n - 1]) {
        throw fault(
          `${name} never decreases`,
          `${name}[${n - 1}] = ${ends[n - 1]}, ${name}[${n}] = ${end}`,
          "Reorder qRows or kRows, or write the pattern as a union.",
        );
      }
    }
  }
  const turned = lo.findIndex((first, n) => first > hi[n]);
  if (turned >= 0) {
    throw fault("lo is at most hi", `lo[${turned}] = ${lo[turned]}, hi[${turned}] = ${hi[turned]}`);
  }
}

function fault(rule: string, actual: string, fix = ""): ShapeError {
  return new ShapeError("staircase", rule, actual, fix);
}

function describe(value: unknown): string {
  return value === undefined || value === null ? "nothing" : `a ${value.constructor?.name ?? typeof value}`;
}
