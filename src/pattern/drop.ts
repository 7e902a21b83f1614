import type { Tensor } from "../tensor.ts";
import { partOfRule, requireIndices } from "./arguments.ts";
import type { Pattern } from "./pattern.ts";
import { keyValues, positionOf, queryValues } from "./words.ts";

/**
 * Dropped queries and keys (the QK-sparse attention of Pagliardini et al., arXiv 2306.01160): a kept query sees the kept
 * keys at and before its position; a dropped query gives o = 0.
 * @param qKeep i32 [B, Tq, H]: 0 drops the query, any other value keeps it; null keeps all
 * @param kKeep i32 [B, Tk, Hk]: likewise for keys
 * @throws ShapeError, DTypeError
 */
export function drop({ qKeep, kKeep }: { qKeep: Tensor<"i32"> | null; kKeep: Tensor<"i32"> | null }): Pattern {
  const op = "pattern.drop";
  if (qKeep) requireIndices(op, "qKeep", qKeep);
  if (kKeep) requireIndices(op, "kKeep", kKeep);
  return {
    name: "drop",
    lower: (shape) =>
      partOfRule(op, { q: "qKeep", k: "kKeep" }, shape, { qGroups: qKeep, kGroups: kKeep, keepMasks: true }),
    async mask(shape) {
      const keepsQuery = qKeep ? await queryValues(qKeep, shape) : () => 1;
      const keepsKey = kKeep ? await keyValues(kKeep, shape) : () => 1;
      return (b, h, i, j) => keepsQuery(b, h, i) !== 0 && keepsKey(b, h, j) !== 0 && j <= positionOf(shape, i);
    },
  };
}
