import type { FloatType } from "../../tensor.ts";

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** Bits of a float16 or bfloat16 value, rounded to nearest even; NaN stays NaN. */
export function toHalfBits(value: number, type: Exclude<FloatType, "f32">): number {
  float[0] = value;
  const word = bits[0]!;
  if (type === "bf16") {
    if (Number.isNaN(value)) return (word >>> 16) | 0x40;
    return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  const sign = (word >>> 16) & 0x8000;
  const magnitude = Math.abs(float[0]);
  if (Number.isNaN(value)) return sign | 0x7e00;
  // 65520 is half way from the largest float16 to the next power of two, which would be even.
  if (magnitude >= 65520) return sign | 0x7c00;
  // Steps of the last kept bit; a carry out of the fraction runs into the exponent, as it should.
  const exponent = Math.max(-14, ((word >>> 23) & 0xff) - 127);
  const unit = 2 ** (exponent - 10);
  const steps = roundHalfEven(magnitude / unit);
  return sign | (((exponent + 14) << 10) + steps);
}

/** The value of float16 or bfloat16 bits. */
export function fromHalfBits(half: number, type: Exclude<FloatType, "f32">): number {
  if (type === "bf16") {
    bits[0] = half << 16;
    return float[0]!;
  }
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (fraction + 1024) * 2 ** (exponent - 25);
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
