import { ShapeError } from "../errors.ts";
import type { Pattern } from "./pattern.ts";

/**
 * What any of several patterns shows, each over all heads: attention over the union is the log-sum-exp merge of the
 * parts. **The patterns must be disjoint**: a pair that two of them show would count twice. What tensors hold cannot be
 * known without reading them, so a call does not check this; `plan` and the mask do.
 * @throws ShapeError if no pattern is given
 */
export function union(...patterns: readonly Pattern[]): Pattern {
  if (patterns.length === 0) throw new ShapeError("pattern.union", "a union has at least one pattern", "none");
  return {
    name: `union(${patterns.map(({ name }) => name).join(", ")})`,
    lower: (shape) => patterns.flatMap((pattern) => pattern.lower(shape)),
    async mask(shape) {
      const masks = await Promise.all(patterns.map((pattern) => pattern.mask(shape)));
      return (b, h, i, j) => {
        const showing = patterns.filter((_, n) => masks[n](b, h, i, j));
        if (showing.length > 1) throw pairSeenTwice([showing[0].name, showing[1].name], { b, h, i, j });
        return showing.length === 1;
      };
    },
  };
}

/** The error for a pair that two parts of a pattern show. */
export function pairSeenTwice(
  [one, other]: readonly [string, string],
  { b, h, i, j }: { b: number; h: number; i: number; j: number },
): ShapeError {
  return new ShapeError(
    "pattern.union",
    "each pair is seen by one part only",
    `query ${i} and key ${j} of head ${h} in batch entry ${b} seen by both ${one} and ${other}`,
    "Give one of them a `beyond`.",
  );
}
