import type { FloatType } from "../tensor.ts";
import { roundTo } from "./memoryOps.ts";

/** How arithmetic rounds: `store` what is written to memory, `sum` what stays in an accumulator. */
export interface Precision {
  readonly store: (x: number) => number;
  readonly sum: (x: number) => number;
}

const exactly = (x: number) => x;

/** Float64: no rounding of our own. */
export const exact: Precision = { store: exactly, sum: exactly };

/** Straightforward arithmetic of each float type: stored values in that type, sums in float32. */
export const precisionOf: Record<FloatType, Precision> = {
  f32: { store: Math.fround, sum: Math.fround },
  f16: { store: (x) => roundTo(x, "f16"), sum: Math.fround },
  bf16: { store: (x) => roundTo(x, "bf16"), sum: Math.fround },
};
