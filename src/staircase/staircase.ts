import type { Tensor } from "../tensor.ts";

/**
 * The staircase: which keys each query sees, once queries and keys stand in *visit order*. The query at place `n` sees
 * exactly the keys at places `lo[n] <= m < hi[n]`, and neither `lo` nor `hi` ever decreases with `n`.
 *
 * Every query row and every key row stands at exactly one place, so that kernels write every row of their outputs. Rows
 * that take no part stand last: such a query has `lo = hi`, such a key lies in nobody's interval.
 *
 * `qLo`, `qHi` are the same set read by columns, for the backward: the key at place `m` is seen by exactly the queries
 * at places `qLo[m] <= n < qHi[m]`. Where no query sees it, `qLo = qHi`.
 *
 * The leading dimensions B and H (Hk for kRows) may each be 1, which stands for all.
 */
export interface Staircase {
  /** Row of q at each place, i32 [B|1, H|1, Tq]; null if the visit order is the identity. */
  readonly qRows: Tensor<"i32"> | null;
  /** Row of k and v at each place, i32 [B|1, Hk|1, Tk]; null if the visit order is the identity. */
  readonly kRows: Tensor<"i32"> | null;
  /** First place seen by each query, i32 [B|1, H|1, Tq]. */
  readonly lo: Tensor<"i32">;
  /** One past the last place seen by each query, i32 [B|1, H|1, Tq]. */
  readonly hi: Tensor<"i32">;
  /** First query place that sees each key, i32 [B|1, H|1, Tk]. */
  readonly qLo: Tensor<"i32">;
  /** One past the last query place that sees each key, i32 [B|1, H|1, Tk]. */
  readonly qHi: Tensor<"i32">;
  /** What all of these are views of, if they are. */
  readonly memory?: Tensor<"i32">;
}

/** A staircase of one head as plain data, for the host: what the checks, the plans and the oracle work on. */
export interface HostStaircase {
  readonly qRows: Int32Array;
  readonly kRows: Int32Array;
  readonly lo: Int32Array;
  readonly hi: Int32Array;
}

/**
 * How a staircase is made from data, on the host or on a device. A *group* is what a query and a key must share to see
 * each other (a hash bucket); a *document* is a run of equal ids along the positions, and nothing sees across its ends.
 * Rows are visited by (document, group, position). Query row i stands at position `i + Tk - Tq`, key row j at j.
 * Within its document and group, a query at position p sees the keys at positions `p - far <= j <= p - near`.
 */
export interface StaircaseRule {
  /** i32 [B, Tk]: runs of equal ids are documents; null: one document. */
  readonly documents: Tensor<"i32"> | null;
  /**
   * i32 [B, Tq, H], strided: each query's group; a value outside 0 <= g < groupCount takes the query out.
   * null: all in group 0.
   */
  readonly qGroups: Tensor<"i32"> | null;
  /** i32 [B, Tk, Hk], strided: each key's group; likewise. */
  readonly kGroups: Tensor<"i32"> | null;
  /** 1..256 */
  readonly groupCount: number;
  /** The groups are keep masks: any value but 0 stands for group 0, and 0 takes the row out. Default false. */
  readonly keepMasks?: boolean;
  /** Smallest distance seen: 0 with the diagonal, 1 without, w for what lies beyond a window. */
  readonly near: number;
  /** Largest distance seen: w - 1 for a window of w, Infinity for no limit. */
  readonly far: number;
  /**
   * Reformer's chunks: places are cut into chunks of this many, and a query sees no key before the chunk that precedes
   * the chunk of the last key it sees. Infinity: no chunks.
   */
  readonly chunk: number;
}
