import { type DevicePart, lowerPattern } from "./pattern/lower.ts";
import type { AttentionShape, Pattern } from "./pattern/pattern.ts";
import { pairSeenTwice } from "./pattern/union.ts";
import { buildStaircase, readRule } from "./staircase/build.ts";
import type { HostStaircase } from "./staircase/staircase.ts";
import { isDataDependent } from "./staircase/tensors.ts";
import { countTiles, type TileCounts, visiblePairs } from "./staircase/tiles.ts";

/** A pattern's staircases as plain data, with their sizes: what a kernel would be given, for pictures and reports. */
export interface Plan {
  /** The pattern's name. */
  readonly pattern: string;
  readonly shape: AttentionShape;
  /** In the order in which a device runs them; the heads of a union occur in several. */
  readonly parts: readonly PlanPart[];
  /** (query, key) pairs that are visible, over all heads and batch entries. */
  readonly visiblePairs: number;
  /** Of the pairs that dense causal attention sees; more than 1 is possible for staircases that look ahead. */
  readonly visibleShare: number;
  readonly blockM: number;
  readonly blockN: number;
  /** Tiles of blockM queries by blockN keys, over all parts, heads and batch entries. */
  readonly tiles: TileCounts;
}

/** One staircase for each (b, head) of a run of query heads. */
export interface PlanPart {
  readonly firstHead: number;
  readonly headCount: number;
  readonly firstKeyHead: number;
  readonly keyHeadCount: number;
  /** b-major */
  readonly heads: readonly PlanHead[];
}

/** The staircase of query head h, counted in the whole call, for batch entry b. */
export interface PlanHead extends HostStaircase {
  readonly b: number;
  readonly h: number;
  readonly visiblePairs: number;
  /** Of the pairs that dense causal attention sees in one head. */
  readonly visibleShare: number;
  readonly tiles: TileCounts;
}

/**
 * What a pattern comes to for a shape.
 * @param blockM queries in a tile, default 64
 * @param blockN keys in a tile, default 64
 * @param verify whether to make sure that the parts of a union are disjoint, in time proportional to Tq * Tk; default true
 * @throws ShapeError if the pattern does not fit the shape, or two of its parts see the same pair
 */
export async function plan(
  pattern: Pattern,
  shape: AttentionShape,
  { blockM = 64, blockN = 64, verify = true }: { blockM?: number; blockN?: number; verify?: boolean } = {},
): Promise<Plan> {
  const causal = causalPairs(shape);
  const parts: PlanPart[] = [];
  for (const part of lowerPattern(pattern, shape)) {
    const staircases = await hostStaircases(part, shape);
    const measured = new Map<HostStaircase, Pick<PlanHead, "visiblePairs" | "visibleShare" | "tiles">>();
    const measure = (staircase: HostStaircase) => {
      const pairs = visiblePairs(staircase);
      const tiles = countTiles(staircase, { Tk: shape.Tk, blockM, blockN });
      return { visiblePairs: pairs, visibleShare: share(pairs, causal), tiles };
    };
    const heads = staircases.map((staircase, n): PlanHead => {
      const measures = measured.get(staircase) ?? measure(staircase);
      measured.set(staircase, measures);
      const b = Math.floor(n / part.headCount);
      return { b, h: part.firstHead + (n % part.headCount), ...staircase, ...measures };
    });
    const { firstHead, headCount, firstKeyHead, keyHeadCount } = part;
    parts.push({ firstHead, headCount, firstKeyHead, keyHeadCount, heads });
  }
  if (verify) verifyDisjoint(parts, shape);
  const heads = parts.flatMap((part) => part.heads);
  const pairs = heads.reduce((sum, head) => sum + head.visiblePairs, 0);
  return {
    pattern: pattern.name,
    shape,
    parts,
    visiblePairs: pairs,
    visibleShare: share(pairs, causal * shape.B * shape.H),
    blockM,
    blockN,
    tiles: heads.map((head) => head.tiles).reduce(addTiles, { skipped: 0, partial: 0, full: 0 }),
  };
}

/** Pairs that dense causal attention sees in one head. */
export function causalPairs({ Tq, Tk }: { Tq: number; Tk: number }): number {
  let pairs = 0;
  for (let i = 0; i < Tq; i++) pairs += Math.max(0, i + Tk - Tq + 1);
  return pairs;
}

/** A part's staircases on the host, one for each (b, head of the part), b-major. */
async function hostStaircases(part: DevicePart, { B, Tq, Tk }: AttentionShape): Promise<HostStaircase[]> {
  const count = B * part.headCount;
  if ("host" in part.staircase) {
    const { host } = part.staircase;
    return Array.from({ length: count }, (_, n) => host[n % host.length]);
  }
  const { rule } = part.staircase;
  const hostRule = await readRule(rule);
  const size = { B, Tq, Tk, H: part.headCount, Hk: part.keyHeadCount };
  if (!isDataDependent(rule)) return new Array(count).fill(buildStaircase(hostRule, size, { b: 0, h: 0 }));
  return Array.from({ length: count }, (_, n) =>
    buildStaircase(hostRule, size, { b: Math.floor(n / part.headCount), h: n % part.headCount }),
  );
}

function verifyDisjoint(parts: readonly PlanPart[], { B, H, Tq, Tk }: AttentionShape): void {
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      const staircases = parts.flatMap(({ heads }) => heads.filter((head) => head.b === b && head.h === h));
      if (staircases.length < 2) continue;
      const placeOf = staircases.map(({ qRows }) => inverse(qRows));
      const seenBy = new Int32Array(Tk);
      for (let i = 0; i < Tq; i++) {
        seenBy.fill(-1);
        for (const [part, { kRows, lo, hi }] of staircases.entries()) {
          const n = placeOf[part][i];
          for (let m = lo[n]; m < hi[n]; m++) {
            const j = kRows[m];
            if (seenBy[j] >= 0) throw pairSeenTwice([`part ${seenBy[j]}`, `part ${part}`], { b, h, i, j });
            seenBy[j] = part;
          }
        }
      }
    }
  }
}

function inverse(rows: Int32Array): Int32Array {
  const places = new Int32Array(rows.length);
  for (let place = 0; place < rows.length; place++) places[rows[place]] = place;
  return places;
}

function addTiles(x: TileCounts, y: TileCounts): TileCounts {
  return { skipped: x.skipped + y.skipped, partial: x.partial + y.partial, full: x.full + y.full };
}

function share(pairs: number, all: number): number {
  return all > 0 ? pairs / all : 0;
}
