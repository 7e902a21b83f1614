/**
 * A staircase read by columns: the key at place m is seen by exactly the queries at places `qLo[m] <= n < qHi[m]`.
 * O(Tq + Tk). Where no query sees the key, both are the first place whose interval begins after it.
 * @param lo [Tq], never decreasing
 * @param hi [Tq], never decreasing, lo <= hi <= Tk
 */
export function columnsOf({ lo, hi }: { lo: Int32Array; hi: Int32Array }, Tk: number): ColumnIntervals {
  const qLo = new Int32Array(Tk);
  const qHi = new Int32Array(Tk);
  let reached = 0;
  let passed = 0;
  for (let m = 0; m < Tk; m++) {
    // Query n sees m when lo[n] <= m < hi[n]; by monotony each half holds from, or up to, one place.
    while (reached < hi.length && hi[reached] <= m) reached++;
    while (passed < lo.length && lo[passed] <= m) passed++;
    qLo[m] = reached;
    qHi[m] = passed;
  }
  return { qLo, qHi };
}

export interface ColumnIntervals {
  /** [Tk] */
  readonly qLo: Int32Array;
  /** [Tk] */
  readonly qHi: Int32Array;
}
