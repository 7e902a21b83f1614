import fc from "fast-check";
import { expect, test } from "vitest";
import { precisionOf } from "./precision.ts";

const roundToF16 = precisionOf.f16.store;
const roundToBf16 = precisionOf.bf16.store;

/** The value of binary16 bits, from the definition of the format. */
function f16FromBits(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

test("f16 values stay, and halfway between neighbours goes to the even one", () => {
  for (let bits = 0; bits < 0x7bff; bits++) {
    const [here, next] = [f16FromBits(bits), f16FromBits(bits + 1)];
    expect(roundToF16(here)).toBe(here);
    expect(roundToF16((here + next) / 2)).toBe(bits % 2 === 0 ? here : next);
    // Adding 0 takes the sign off zeros.
    expect(roundToF16(-(here * 0.51 + next * 0.49)) + 0).toBe(-here + 0);
  }
  expect(roundToF16(65519)).toBe(65504);
  expect(roundToF16(65520)).toBe(Infinity);
  expect(roundToF16(-1e9)).toBe(-Infinity);
  expect(roundToF16(Number.NaN)).toBeNaN();
});

test("bf16 is the upper half of float32, rounded to nearest even", () => {
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  fc.assert(
    fc.property(fc.float({ noNaN: true }), (x) => {
      float[0] = x;
      const rest = bits[0] & 0xffff;
      bits[0] -= rest;
      const odd = (bits[0] >>> 16) & 1;
      if (rest > 0x8000 || (rest === 0x8000 && odd)) bits[0] += 0x10000;
      expect(roundToBf16(x) + 0).toBe(float[0] + 0);
    }),
    { numRuns: 5000 },
  );
});
