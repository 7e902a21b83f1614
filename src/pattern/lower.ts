import { ShapeError } from "../errors.ts";
import { type AttentionShape, keyHeadOf, type Part, type Pattern } from "./pattern.ts";

/** A part as devices run it: within one key head, or over whole ones. */
export interface DevicePart extends Part {
  readonly firstKeyHead: number;
  readonly keyHeadCount: number;
  /** An earlier part covers the same query heads: o, lse and dq are added to. */
  readonly addsToQueries: boolean;
  /** An earlier part covers the same key heads: dk and dv are added to. */
  readonly addsToKeys: boolean;
}

/**
 * A pattern's parts in the order in which they run, cut at the borders of key heads where they cover some only in part.
 * @throws ShapeError if the pattern does not fit the shape, leaves a head out, or its parts overlap unevenly
 */
export function lowerPattern(pattern: Pattern, shape: AttentionShape): DevicePart[] {
  const queryHeads = new Coverage(pattern.name, "query", shape.H);
  const keyHeads = new Coverage(pattern.name, "key", shape.Hk);
  const parts = pattern
    .lower(shape)
    .flatMap((part) => cutAtKeyHeads(part, shape))
    .map((part): DevicePart => {
      const firstKeyHead = keyHeadOf(shape, part.firstHead);
      const keyHeadCount = keyHeadOf(shape, part.firstHead + part.headCount - 1) - firstKeyHead + 1;
      const addsToQueries = queryHeads.add(part.firstHead, part.headCount);
      const addsToKeys = keyHeads.add(firstKeyHead, keyHeadCount);
      return { ...part, firstKeyHead, keyHeadCount, addsToQueries, addsToKeys };
    });
  queryHeads.mustBeComplete();
  return parts;
}

/** Which heads earlier parts have covered. */
class Coverage {
  readonly #covered: Uint8Array;

  constructor(
    readonly pattern: string,
    readonly kind: "query" | "key",
    heads: number,
  ) {
    this.#covered = new Uint8Array(heads);
  }

  /** Covers a run of heads; true if all were covered before, false if none was. */
  add(first: number, count: number): boolean {
    const run = this.#covered.subarray(first, first + count);
    const before = run.reduce((sum, x) => sum + x, 0);
    if (run.length !== count || (before !== 0 && before !== count)) {
      throw new ShapeError(
        `pattern.${this.pattern}`,
        `a part covers ${this.kind} heads that exist and that earlier parts covered all or none of`,
        `heads ${first} to ${first + count - 1} with ${before} covered before`,
      );
    }
    run.fill(1);
    return before > 0;
  }

  mustBeComplete(): void {
    const missing = this.#covered.indexOf(0);
    if (missing < 0) return;
    throw new ShapeError(`pattern.${this.pattern}`, `its parts cover every head`, `none for head ${missing}`);
  }
}

/** Pieces of a part, each inside one key head or over whole ones. */
function cutAtKeyHeads(part: Part, shape: AttentionShape): Part[] {
  const perKeyHead = shape.H / shape.Hk;
  const end = part.firstHead + part.headCount;
  const firstWhole = Math.ceil(part.firstHead / perKeyHead) * perKeyHead;
  const endWhole = Math.floor(end / perKeyHead) * perKeyHead;
  // A part inside one key head has firstWhole > endWhole; sorting its borders away leaves it in one piece.
  const borders = firstWhole > endWhole ? [part.firstHead, end] : [part.firstHead, firstWhole, endWhole, end];
  const pieces: Part[] = [];
  for (let n = 1; n < borders.length; n++) {
    const first = borders[n - 1];
    const count = borders[n] - first;
    if (count > 0) pieces.push(count === part.headCount ? part : sliceHeads(part, shape, { first, count }));
  }
  return pieces;
}

/** The part over some of its heads, given as heads of the whole call. */
function sliceHeads(part: Part, shape: AttentionShape, { first, count }: { first: number; count: number }): Part {
  const skipped = first - part.firstHead;
  if ("host" in part.staircase) {
    const { host } = part.staircase;
    const ofHead = (_: unknown, n: number) => {
      const h = n % part.headCount;
      return h >= skipped && h < skipped + count;
    };
    const kept = host.length === 1 ? host : host.filter(ofHead);
    return { firstHead: first, headCount: count, staircase: { host: kept } };
  }
  const { rule } = part.staircase;
  const firstKeyHead = keyHeadOf(shape, first);
  const keyHeadCount = keyHeadOf(shape, first + count - 1) - firstKeyHead + 1;
  const skippedKeyHeads = firstKeyHead - keyHeadOf(shape, part.firstHead);
  return {
    firstHead: first,
    headCount: count,
    staircase: {
      rule: {
        ...rule,
        qGroups: rule.qGroups?.slice(2, skipped, count) ?? null,
        kGroups: rule.kGroups?.slice(2, skippedKeyHeads, keyHeadCount) ?? null,
      },
    },
  };
}
