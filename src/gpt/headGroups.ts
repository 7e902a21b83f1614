import { headDimension, layerAttentions, type ModelConfig } from "./config.ts";
import type { HeadPattern } from "./notation.ts";

/** A run of query heads of one layer, and the key heads that they read. */
export interface HeadRun {
  readonly firstHead: number;
  readonly headCount: number;
  readonly firstKeyHead: number;
  readonly keyHeadCount: number;
}

/** A run of heads that share a pattern. */
export interface HeadGroup extends HeadRun {
  readonly headPattern: HeadPattern;
  /** Query heads that read one key head. */
  readonly perKeyHead: number;
  /** D */
  readonly headDimension: number;
  /** Tells this group's random choices from all others'. */
  readonly part: number;
  /**
   * Normalising a query does not change its bucket, so shared queries and keys share buckets; dropped ones do not share
   * their masks.
   */
  readonly sharesBuckets: boolean;
}

/** The groups of heads of every layer. */
export function headGroups(config: ModelConfig): HeadGroup[][] {
  const perKeyHead = config.heads / config.kvHeads;
  return layerAttentions(config).map((attention, layer) => {
    let firstHead = 0;
    return attention.map(({ heads, pattern }, group) => {
      const firstKeyHead = Math.floor(firstHead / perKeyHead);
      const made: HeadGroup = {
        headPattern: pattern,
        firstHead,
        headCount: heads,
        firstKeyHead,
        keyHeadCount: Math.floor((firstHead + heads - 1) / perKeyHead) - firstKeyHead + 1,
        perKeyHead,
        headDimension: headDimension(config),
        part: layer * config.heads + group,
        sharesBuckets: config.sharedQK && pattern.kind !== "drop",
      };
      firstHead += heads;
      return made;
    });
  });
}

/** The heads of every layer whose queries and keys are turned by their positions. */
export function turnedHeads(config: ModelConfig): (readonly HeadRun[])[] {
  const all = { firstHead: 0, headCount: config.heads, firstKeyHead: 0, keyHeadCount: config.kvHeads };
  return headGroups(config).map((groups) => {
    if (config.positions === "learned") return [];
    if (config.positions === "rope-windows") return groups.filter(({ headPattern }) => headPattern.kind === "window");
    return [all];
  });
}
