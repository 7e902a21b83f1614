/**
 * Counter-based random numbers: threefry2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As
 * Easy as 1, 2, 3", SC 2011). Any draw is a function of its key and counter alone, so that every device, and a resumed
 * run, draws the same.
 */

const rotationsEven = [13, 15, 26, 6];
const rotationsOdd = [17, 29, 16, 24];
const skeinParity = 0x1bd11bda;

/**
 * Threefry2x32-20.
 * @param key two unsigned 32-bit words
 * @param counter two unsigned 32-bit words
 * @param out where the two resulting words go; a caller that draws often passes its own
 * @returns out
 */
export function threefry2x32(
  [key0, key1]: readonly [number, number],
  [counter0, counter1]: readonly [number, number],
  out: Uint32Array = new Uint32Array(2),
): Uint32Array {
  const schedule = [key0 | 0, key1 | 0, skeinParity ^ key0 ^ key1];
  let x0 = (counter0 + schedule[0]) | 0;
  let x1 = (counter1 + schedule[1]) | 0;
  for (let group = 1; group <= 5; group++) {
    for (const r of group % 2 === 1 ? rotationsEven : rotationsOdd) {
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << r) | (x1 >>> (32 - r))) ^ x0;
    }
    x0 = (x0 + schedule[group % 3]) | 0;
    x1 = (x1 + schedule[(group + 1) % 3] + group) | 0;
  }
  out[0] = x0;
  out[1] = x1;
  return out;
}

/** Draws number `index` of the stream (seed, stream), uniform on the open interval (0, 1), from word 0. */
export function uniformAt(seed: number, stream: number, index: number): number {
  return toUnit(draw(seed, stream, index)[0]);
}

/** Draws number `index` of the stream (seed, stream), standard normal (Box and Muller, 1958), in doubles. */
export function normalAt(seed: number, stream: number, index: number): number {
  const [word0, word1] = draw(seed, stream, index);
  return Math.sqrt(-2 * Math.log(toUnit(word0))) * Math.cos(2 * Math.PI * toUnit(word1));
}

/** An unsigned 32-bit seed for a part of the work, for example one layer in one step. */
export function deriveSeed(seed: number, part: number, subpart = 0): number {
  return threefry2x32([seed, streams.derive], [part, subpart])[0];
}

/**
 * Random rotations for `lshBuckets` (angular hashing as in Reformer, arXiv 2001.04451): normal draws, with each column
 * over D scaled to length 1.
 * @returns [H, D, buckets / 2], row-major
 */
export function lshRotations(options: { seed: number; H: number; D: number; buckets: number }): Float32Array {
  const { seed, H, D } = options;
  const columns = options.buckets / 2;
  const drawn = Float64Array.from({ length: H * D * columns }, (_, i) => normalAt(seed, streams.rotations, i));
  const rotations = new Float32Array(drawn.length);
  for (let h = 0; h < H; h++) {
    for (let c = 0; c < columns; c++) {
      const at = (d: number): number => (h * D + d) * columns + c;
      let squares = 0;
      for (let d = 0; d < D; d++) squares += drawn[at(d)] ** 2;
      const length = Math.sqrt(squares);
      for (let d = 0; d < D; d++) rotations[at(d)] = drawn[at(d)] / length;
    }
  }
  return rotations;
}

/** Second key words of the streams that this package draws for itself; spelled to stay clear of small numbers. */
const streams = { derive: 0x64657276, rotations: 0x726f7461 };

const scratch = new Uint32Array(2);

/** A 53-bit index spreads over both counter words. */
function draw(seed: number, stream: number, index: number): Uint32Array {
  return threefry2x32([seed, stream], [index >>> 0, Math.floor(index / 2 ** 32)], scratch);
}

function toUnit(word: number): number {
  return (word + 0.5) / 2 ** 32;
}
