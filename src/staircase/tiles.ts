import type { HostStaircase } from "./staircase.ts";

/** How many (query, key) pairs a staircase makes visible. */
export function visiblePairs({ lo, hi }: Pick<HostStaircase, "lo" | "hi">): number {
  let pairs = 0;
  for (let n = 0; n < lo.length; n++) pairs += hi[n] - lo[n];
  return pairs;
}

/** Tiles of blockM queries by blockN keys, by what a kernel does with them. */
export interface TileCounts {
  /** Outside the query tile's run of keys: never touched. */
  readonly skipped: number;
  /** Visited with a mask. */
  readonly partial: number;
  /** Visited without a mask. */
  readonly full: number;
}

/** Counts the tiles that a kernel skips, masks, or visits unmasked. */
export function countTiles(
  { lo, hi }: Pick<HostStaircase, "lo" | "hi">,
  { Tk, blockM, blockN }: { Tk: number; blockM: number; blockN: number },
): TileCounts {
  const Tq = lo.length;
  const total = Math.ceil(Tq / blockM) * Math.ceil(Tk / blockN);
  let partial = 0;
  let full = 0;
  for (let first = 0; first < Tq; first += blockM) {
    const last = Math.min(first + blockM, Tq) - 1;
    // Queries that see nothing, as dropped ones, have bounds all the same.
    if (lo[first] >= hi[last]) continue;
    for (let tile = Math.floor(lo[first] / blockN); tile * blockN < hi[last]; tile++) {
      const k0 = tile * blockN;
      const k1 = Math.min(k0 + blockN, Tk);
      if (k0 >= lo[last] && k1 <= hi[first]) full++;
      else partial++;
    }
  }
  return { skipped: total - partial - full, partial, full };
}
