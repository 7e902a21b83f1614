// cast: out = x between f32, f16 and bf16, contiguous, rounded to nearest even.
//
// Inputs:  x, out, and the kind of each: 0 f32, 1 f16, 2 bf16.
// Grid:    one task per `perTask` elements.
// Scratch: none.
// Numerics: by way of float32, which holds every value of the others, so that there is one rounding.

const F16: u32 = 1;
const BF16: u32 = 2;

@unmanaged
class CastArgs {
  x: usize;
  xKind: u32;
  out: usize;
  outKind: u32;
  size: u32;
  perTask: u32;
}

export function cast(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<CastArgs>(argsAddress);
  const first = task * args.perTask;
  const end = min(first + args.perTask, args.size);
  for (let i = first; i < end; i++) {
    let bits: u32;
    if (args.xKind == F16) bits = fromF16(load<u16>(args.x + (i << 1)));
    else if (args.xKind == BF16) bits = <u32>load<u16>(args.x + (i << 1)) << 16;
    else bits = load<u32>(args.x + (i << 2));
    if (args.outKind == F16) store<u16>(args.out + (i << 1), <u16>toF16(bits));
    else if (args.outKind == BF16) store<u16>(args.out + (i << 1), <u16>toBf16(bits));
    else store<u32>(args.out + (i << 2), bits);
  }
}

function toBf16(bits: u32): u32 {
  // A NaN keeps its top bits and its quiet bit; rounding could carry it away.
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >> 16) | 0x40;
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

function toF16(bits: u32): u32 {
  const sign = (bits >> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and up
  if (magnitude < 0x38800000) {
    // Below 2^-14: adding 1/2 leaves the value in units of 2^-24 in the last bits, rounded to even by the addition.
    const shifted = reinterpret<f32>(magnitude) + 0.5;
    return sign | (reinterpret<u32>(shifted) - 0x3f000000);
  }
  const rebiased = magnitude - 0x38000000;
  return sign | ((rebiased + 0xfff + ((rebiased >> 13) & 1)) >> 13);
}

function fromF16(half: u32): u32 {
  const sign = (half & 0x8000) << 16;
  const magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return sign | 0x7f800000 | ((magnitude & 0x3ff) << 13);
  if (magnitude < 0x400) return sign | reinterpret<u32>(<f32>magnitude * 5.9604644775390625e-8);
  return sign | ((magnitude << 13) + 0x38000000);
}
