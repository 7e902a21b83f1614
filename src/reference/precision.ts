import type { FloatType } from "../tensor.ts";

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
  f16: { store: roundToF16, sum: Math.fround },
  bf16: { store: roundToBf16, sum: Math.fround },
};

/** The nearest IEEE binary16 value, ties to even; beyond 65520 an infinity. */
export function roundToF16(x: number): number {
  return roundToFloat(x, { significantBits: 11, smallestExponent: -14, overflow: 65520 });
}

/** The nearest bfloat16 value, ties to even. */
export function roundToBf16(x: number): number {
  // bfloat16 and float32 share their exponents: 2^127 * (2 - 2^-8) is the first value that rounds past the largest.
  return roundToFloat(x, { significantBits: 8, smallestExponent: -126, overflow: 2 ** 127 * (2 - 2 ** -8) });
}

function roundToFloat(
  x: number,
  format: { significantBits: number; smallestExponent: number; overflow: number },
): number {
  const size = Math.abs(x);
  if (!(size < format.overflow)) return size >= format.overflow ? Math.sign(x) * Number.POSITIVE_INFINITY : Number.NaN;
  if (size === 0) return x;
  // log2 may be off by one just below a power of two; that side only doubles the grid at a value that is on it.
  let exponent = Math.floor(Math.log2(size));
  if (2 ** exponent > size) exponent--;
  if (2 ** (exponent + 1) <= size) exponent++;
  const step = 2 ** (Math.max(exponent, format.smallestExponent) - format.significantBits + 1);
  return roundHalfToEven(x / step) * step;
}

function roundHalfToEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}
