import type { HostStaircase, StaircaseRule } from "../staircase/staircase.ts";

/** Sizes of one attention call, or of a group of its heads; letters as everywhere: Hk divides H in a whole call. */
export interface AttentionShape {
  readonly B: number;
  readonly Tq: number;
  readonly Tk: number;
  readonly H: number;
  /** Key heads; in a group, those that its query heads read. */
  readonly Hk: number;
  /** Set in a group that begins or ends inside the run of query heads that share a key head; see `keyHeadOf`. */
  readonly sharing?: {
    /** Query heads that share one key head in the whole call. */
    readonly headsPerKeyHead: number;
    /** How many of the sharers of the group's first key head stand before the group. */
    readonly headsBefore: number;
  };
}

/** The key head that query head h reads: floor(h * Hk / H) in a whole call. */
export function keyHeadOf({ H, Hk, sharing }: AttentionShape, h: number): number {
  return sharing ? Math.floor((h + sharing.headsBefore) / sharing.headsPerKeyHead) : Math.floor((h * Hk) / H);
}

/** Whether query row i of head h may see key row j, for batch entry b. */
export type Mask = (b: number, h: number, i: number, j: number) => boolean;

/**
 * One staircase over a run of query heads. Parts of one pattern over the same head are disjoint. Query heads of a part
 * that share a key head visit its keys in the same order.
 */
export interface Part {
  readonly firstHead: number;
  readonly headCount: number;
  /**
   * A rule for the device to build from, whose tensors hold the heads of this part and no others; or staircases made on
   * the host: one for all, one for each head of the part, or one for each (b, head of the part), b-major.
   */
  readonly staircase: { readonly rule: StaircaseRule } | { readonly host: readonly HostStaircase[] };
}

/**
 * WHAT is visible. A pattern is a value: it holds its own data (buckets, masks, ids) and knows two renderings of it that
 * share no code, so that each checks the other: `lower` into staircases, which the devices run, and `mask`, the
 * definition in words, which the reference and the pictures use.
 */
export interface Pattern {
  readonly name: string;
  /** @throws ShapeError if the pattern's data do not fit the shape */
  lower(shape: AttentionShape): Part[];
  mask(shape: AttentionShape): Promise<Mask>;
}
