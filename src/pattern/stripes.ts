import type { Tensor } from "../tensor.ts";
import { partOfRule, requireIndices, requireWhole } from "./arguments.ts";
import type { Pattern } from "./pattern.ts";
import { keyValues, positionOf } from "./words.ts";

/**
 * Column stripes (SampleAttention, Zhu et al., arXiv 2406.15486; attention sinks): every query sees the chosen keys, and
 * only those, at and before its position, or beyond a window.
 * @param kKeep i32 [B, Tk, Hk]: 0 leaves the key out, any other value chooses it
 * @param beyond smallest distance seen, at least 1; `union(window(w), stripes({kKeep, beyond: w}))` shares no pair.
 * Left out, a query sees chosen keys at every distance, its own position included.
 * @throws ShapeError, DTypeError
 */
export function stripes({ kKeep, beyond }: { kKeep: Tensor<"i32">; beyond?: number }): Pattern {
  const op = "pattern.stripes";
  requireIndices(op, "kKeep", kKeep);
  if (beyond !== undefined) {
    requireWhole(op, "beyond", beyond, { least: 1, fix: "Leave it out to see every distance." });
  }
  return {
    name: beyond === undefined ? "stripes" : `stripes(beyond ${beyond})`,
    lower: (shape) =>
      partOfRule(op, { q: "", k: "kKeep" }, shape, { kGroups: kKeep, keepMasks: true, near: beyond ?? 0 }),
    async mask(shape) {
      const keepsKey = await keyValues(kKeep, shape);
      return (b, h, i, j) => {
        const p = positionOf(shape, i);
        return keepsKey(b, h, j) !== 0 && (beyond === undefined ? j <= p : p - j >= beyond);
      };
    },
  };
}
