// rope: feature i of each head turns with feature i + D/2, by (firstPosition + t) * base^(-2i/D).
//
// Inputs:  x, out [B, T, H, D], strided (bytes between neighbours of B, T and H); out may be x.
// Grid:    one task per `positionsPerTask` positions t, over all b and h, which share the angles.
// Scratch: 20 D bytes: for each pair the turn of one step and the turn now in float64, and the turn now in float32.
// Numerics: the angles in float64, since they reach thousands of turns: exact at the first position of a task, then
//          carried on by multiplying with the turn of one step; x in float32.
// Paper:   Su et al., RoFormer, arXiv 2104.09864.

@unmanaged
class RopeArgs {
  base: f64; // two words
  B: u32;
  T: u32;
  H: u32;
  D: u32;
  positionsPerTask: u32;
  firstPosition: u32;
  inverse: u32;
  x: usize;
  xB: usize;
  xT: usize;
  xH: usize;
  out: usize;
  outB: usize;
  outT: usize;
  outH: usize;
}

/** The turn of one pair. */
@unmanaged
class Turn {
  stepCos: f64;
  stepSin: f64;
  cos: f64;
  sin: f64;
}

const TURN_BYTES: usize = 32;

export function rope(argsAddress: usize, task: u32, scratch: usize): void {
  const args = changetype<RopeArgs>(argsAddress);
  const half = args.D >> 1;
  const cosines = scratch + half * TURN_BYTES;
  const sines = cosines + (half << 2);
  const first = task * args.positionsPerTask;
  const end = min(first + args.positionsPerTask, args.T);
  startTurns(scratch, args, first);
  for (let t = first; t < end; t++) {
    advance(scratch, cosines, sines, half);
    for (let b: u32 = 0; b < args.B; b++) {
      for (let h: u32 = 0; h < args.H; h++) {
        const x = args.x + b * args.xB + t * args.xT + h * args.xH;
        const out = args.out + b * args.outB + t * args.outT + h * args.outH;
        turnRow(x, out, cosines, sines, half);
      }
    }
  }
}

function startTurns(turns: usize, args: RopeArgs, first: u32): void {
  const direction: f64 = args.inverse ? -1 : 1;
  const half = args.D >> 1;
  for (let i: u32 = 0; i < half; i++) {
    const turn = changetype<Turn>(turns + i * TURN_BYTES);
    const angle = direction * NativeMath.pow(args.base, (-2 * <f64>i) / <f64>args.D);
    turn.stepCos = NativeMath.cos(angle);
    turn.stepSin = NativeMath.sin(angle);
    const start = angle * <f64>(args.firstPosition + first);
    turn.cos = NativeMath.cos(start);
    turn.sin = NativeMath.sin(start);
  }
}

/** Writes the turns of this position as floats, then moves them to the next. */
function advance(turns: usize, cosines: usize, sines: usize, half: u32): void {
  for (let i: u32 = 0; i < half; i++) {
    const turn = changetype<Turn>(turns + i * TURN_BYTES);
    const cos = turn.cos;
    const sin = turn.sin;
    store<f32>(cosines + (i << 2), <f32>cos);
    store<f32>(sines + (i << 2), <f32>sin);
    turn.cos = cos * turn.stepCos - sin * turn.stepSin;
    turn.sin = sin * turn.stepCos + cos * turn.stepSin;
  }
}

function turnRow(x: usize, out: usize, cosines: usize, sines: usize, half: u32): void {
  const halfBytes = half << 2;
  let at: usize = 0;
  for (; at + 16 <= halfBytes; at += 16) {
    const cos = v128.load(cosines + at);
    const sin = v128.load(sines + at);
    const low = v128.load(x + at);
    const high = v128.load(x + at + halfBytes);
    v128.store(out + at, f32x4.sub(f32x4.mul(low, cos), f32x4.mul(high, sin)));
    v128.store(out + at + halfBytes, f32x4.add(f32x4.mul(high, cos), f32x4.mul(low, sin)));
  }
  for (; at < halfBytes; at += 4) {
    const cos = load<f32>(cosines + at);
    const sin = load<f32>(sines + at);
    const low = load<f32>(x + at);
    const high = load<f32>(x + at + halfBytes);
    store<f32>(out + at, low * cos - high * sin);
    store<f32>(out + at + halfBytes, high * cos + low * sin);
  }
}
