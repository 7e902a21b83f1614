/**
 * Counter-based random numbers: threefry2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As
 * Easy as 1, 2, 3", SC 2011). Any draw is a function of its key and counter alone, so that every device, and a resumed
 * run, draws the same.
 */

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
  encipher(key0, key1, counter0, counter1, out);
  return out;
}

/** Its work, without arrays to make: most of what a model's first weights and rotations take. */
function encipher(key0: number, key1: number, counter0: number, counter1: number, out: Uint32Array): void {
  // The words of the key take turns.
  let [a, b, c] = [key0 | 0, key1 | 0, skeinParity ^ key0 ^ key1];
  let x0 = (counter0 + a) | 0;
  let x1 = (counter1 + b) | 0;
  for (let group = 1; group <= 5; group++) {
    if (group % 2 === 1) {
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << 13) | (x1 >>> 19)) ^ x0;
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << 15) | (x1 >>> 17)) ^ x0;
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << 26) | (x1 >>> 6)) ^ x0;
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << 6) | (x1 >>> 26)) ^ x0;
    } else {
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << 17) | (x1 >>> 15)) ^ x0;
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << 29) | (x1 >>> 3)) ^ x0;
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << 16) | (x1 >>> 16)) ^ x0;
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << 24) | (x1 >>> 8)) ^ x0;
    }
    const first = a;
    a = b;
    b = c;
    c = first;
    x0 = (x0 + a) | 0;
    x1 = (x1 + b + group) | 0;
  }
  out[0] = x0;
  out[1] = x1;
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
  const drawn = new Float64Array(H * D * columns);
  for (let i = 0; i < drawn.length; i++) drawn[i] = normalAt(seed, streams.rotations, i);
  const rotations = new Float32Array(drawn.length);
  for (let h = 0; h < H; h++) {
    const squares = new Float64Array(columns);
    const [begin, end] = [h * D * columns, (h + 1) * D * columns];
    for (let at = begin; at < end; at++) squares[at % columns]! += drawn[at]! ** 2;
    for (let at = begin; at < end; at++) rotations[at] = drawn[at]! / Math.sqrt(squares[at % columns]!);
  }
  return rotations;
}

/** Second key words of the streams that this package draws for itself; spelled to stay clear of small numbers. */
const streams = { derive: 0x64657276, rotations: 0x726f7461 };

const scratch = new Uint32Array(2);

/** A 53-bit index spreads over both counter words. */
function draw(seed: number, stream: number, index: number): Uint32Array {
  encipher(seed, stream, index >>> 0, Math.floor(index / 2 ** 32), scratch);
  return scratch;
}

function toUnit(word: number): number {
  return (word + 0.5) / 2 ** 32;
}
