import type { Tensor } from "../tensor.ts";
import { partOfRule, requireIndices } from "./arguments.ts";
import type { Pattern } from "./pattern.ts";
import { positionOf, sameDocument } from "./words.ts";

/**
 * Dense causal attention within each of several documents packed into one sequence.
 * @param ids i32 [B, Tk]: runs of equal ids are documents; an id that comes back later begins another document
 * @throws ShapeError, DTypeError
 */
export function documents(ids: Tensor<"i32">): Pattern {
  const op = "pattern.documents";
  requireIndices(op, "ids", ids);
  return {
    name: "documents",
    lower: (shape) => partOfRule(op, { q: "", k: "" }, shape, { documents: ids }),
    async mask(shape) {
      const together = await sameDocument(ids, shape);
      return (b, _h, i, j) => {
        const p = positionOf(shape, i);
        return j <= p && together(b, p, j);
      };
    },
  };
}
