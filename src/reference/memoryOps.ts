import type { Ops } from "../device/ops.ts";
import type { FloatType } from "../tensor.ts";
import { rows } from "./values.ts";

export const memoryOps: Pick<Ops, "fill" | "copy" | "cast" | "add"> = {
  fill({ out, value }) {
    for (const outRow of rows(out)) outRow.fill(value);
  },

  copy({ x, out }) {
    const xRows = rows(x);
    rows(out).forEach((outRow, n) => {
      outRow.set(xRows[n]);
    });
  },

  cast({ x, out }) {
    const xRows = rows(x);
    rows(out).forEach((outRow, n) => {
      for (let i = 0; i < outRow.length; i++) outRow[i] = roundTo(xRows[n][i], out.dtype);
    });
  },

  add({ x, y, out }) {
    const xRows = rows(x);
    const yRows = rows(y);
    rows(out).forEach((outRow, n) => {
      for (let i = 0; i < outRow.length; i++) outRow[i] = xRows[n][i] + yRows[n][i];
    });
  },
};

const formats = {
  f32: { fractionBits: 23, minExponent: -126, largest: (2 - 2 ** -23) * 2 ** 127 },
  f16: { fractionBits: 10, minExponent: -14, largest: 65504 },
  bf16: { fractionBits: 7, minExponent: -126, largest: (2 - 2 ** -7) * 2 ** 127 },
};

/** The nearest number of a float type, the even one on a tie, subnormals included. */
export function roundTo(value: number, dtype: FloatType): number {
  const { fractionBits, minExponent, largest } = formats[dtype];
  if (value === 0 || !Number.isFinite(value)) return value;
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(value))), minExponent);
  const spacing = 2 ** (exponent - fractionBits);
  const rounded = roundHalfToEven(value / spacing) * spacing;
  return Math.abs(rounded) > largest ? Math.sign(value) * Number.POSITIVE_INFINITY : rounded;
}

function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  const fraction = value - below;
  if (fraction !== 0.5) return fraction < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** The number that 16 bits of f16 or bf16 stand for. */
export function decodeBits(bits: number, dtype: "f16" | "bf16"): number {
  const { fractionBits, minExponent } = formats[dtype];
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits & 0x7fff) >> fractionBits;
  const fraction = (bits & ((1 << fractionBits) - 1)) / 2 ** fractionBits;
  const topExponent = (1 << (15 - fractionBits)) - 1;
  if (exponent === topExponent) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** minExponent;
  return sign * (1 + fraction) * 2 ** (exponent - 1 + minExponent);
}
