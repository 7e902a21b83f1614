import { partOfRule } from "./arguments.ts";
import type { Pattern } from "./pattern.ts";
import { positionOf } from "./words.ts";

/** Dense causal attention: a query sees its own position and all before. The last query stands at the last key. */
export function dense(): Pattern {
  return {
    name: "dense",
    lower: (shape) => partOfRule("pattern.dense", { q: "", k: "" }, shape, {}),
    mask: async (shape) => (_b, _h, i, j) => j <= positionOf(shape, i),
  };
}
