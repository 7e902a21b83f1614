// keepMask: out[i] = 1 if word 0 of threefry2x32-20 with key (seed, stream) at counter (i, 0) is below the threshold.
//
// Inputs:  key i32 [2] = (seed, stream); out i32 [size]; threshold keep * 2^32, rounded up, or keepAll.
// Grid:    one task per `perTask` elements, a multiple of 4.
// Scratch: none.
// Paper:   Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
import { storeTail } from "./simd.as";

const PARITY: u32 = 0x1bd11bda;
// Four rotations, the first in the lowest byte.
const ODD_ROTATIONS: u32 = 13 | (15 << 8) | (26 << 16) | (6 << 24);
const EVEN_ROTATIONS: u32 = 17 | (29 << 8) | (16 << 16) | (24 << 24);

@unmanaged
class KeepMaskArgs {
  out: usize;
  size: u32;
  perTask: u32;
  key: usize;
  threshold: u32;
  keepAll: u32;
}

export function keepMask(argsAddress: usize, task: u32, _scratch: usize): void {
  const args = changetype<KeepMaskArgs>(argsAddress);
  const first = task * args.perTask;
  const end = min(first + args.perTask, args.size);
  const thresholds = i32x4.splat(args.threshold);
  const one = i32x4.splat(1);
  const seed = load<u32>(args.key);
  const stream = load<u32>(args.key, 4);
  for (let i = first; i < end; i += 4) {
    const counters = i32x4.add(i32x4.splat(i), i32x4(0, 1, 2, 3));
    const below = i32x4.lt_u(firstWord(seed, stream, counters), thresholds);
    const kept = args.keepAll ? one : v128.and(below, one);
    if (i + 4 <= end) v128.store(args.out + (i << 2), kept);
    else storeTail(args.out + (i << 2), kept, <i32>(end - i));
  }
}

/** Word 0 for four counters (c, 0). */
function firstWord(key0: u32, key1: u32, counters: v128): v128 {
  const k0 = i32x4.splat(key0);
  const k1 = i32x4.splat(key1);
  const k2 = i32x4.splat(PARITY ^ key0 ^ key1);
  let x = i32x4.add(counters, k0);
  let y = k1;
  for (let group = 1; group <= 5; group++) {
    const rotations = group & 1 ? ODD_ROTATIONS : EVEN_ROTATIONS;
    for (let round = 0; round < 32; round += 8) {
      const r = (rotations >> round) & 31;
      x = i32x4.add(x, y);
      y = v128.xor(v128.or(i32x4.shl(y, r), i32x4.shr_u(y, 32 - r)), x);
    }
    // The keys take turns: (k1, k2), (k2, k0), (k0, k1), ...
    const next = group % 3;
    x = i32x4.add(x, next == 0 ? k0 : next == 1 ? k1 : k2);
    y = i32x4.add(y, i32x4.add(next == 0 ? k1 : next == 1 ? k2 : k0, i32x4.splat(group)));
  }
  return x;
}
