import type { HostStaircase, StaircaseRule } from "../staircase/staircase.ts";

/** Sizes of one attention call; letters as everywhere: Hk divides H. */
export interface AttentionShape {
  readonly B: number;
  readonly Tq: number;
  readonly Tk: number;
  readonly H: number;
  readonly Hk: number;
}

/** Whether query row i of head h may see key row j, for batch entry b. */
export type Mask = (b: number, h: number, i: number, j: number) => boolean;

/** One staircase over a run of query heads. Parts of one pattern over the same head are disjoint. */
export interface Part {
  readonly firstHead: number;
  readonly headCount: number;
  /** A rule for the device to build from, or staircases made on the host, one for each (b, head of the part), b-major. */
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
