import type { Tensor } from "../tensor.ts";
import { partOfRule, requireIndices, requireWhole } from "./arguments.ts";
import type { Pattern } from "./pattern.ts";
import { positionOf, sameDocument } from "./words.ts";

/**
 * A sliding window: a query sees the last `size` positions up to its own.
 * @param size positions, at least 1
 * @param documents i32 [B, Tk]: nothing is seen across the ends of runs of equal ids
 * @throws ShapeError, DTypeError
 */
export function window(size: number, { documents = null }: { documents?: Tensor<"i32"> | null } = {}): Pattern {
  const op = "pattern.window";
  requireWhole(op, "size", size, { least: 1, fix: "A window of 1 sees the query's own position." });
  if (documents) requireIndices(op, "documents", documents);
  return {
    name: `window(${size})`,
    lower: (shape) => partOfRule(op, { q: "", k: "" }, shape, { documents, far: size - 1 }),
    async mask(shape) {
      const together = await sameDocument(documents, shape);
      return (b, _h, i, j) => {
        const p = positionOf(shape, i);
        return j <= p && p < j + size && together(b, p, j);
      };
    },
  };
}
