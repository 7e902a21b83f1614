import type { FloatType } from "../tensor.ts";
import type { AttentionCase } from "./attention.ts";
import { runAttentionCase } from "./attention.ts";
import type { ConformanceCase } from "./case.ts";
import { Draws } from "./draws.ts";
import { type RandomPatternKind, randomPatterns } from "./randomPatterns.ts";

/** A case of the random list, with what it was drawn as. */
export interface RandomAttentionCase extends AttentionCase {
  readonly kind: RandomPatternKind;
  readonly dtype: FloatType;
}

export interface RandomCaseOptions {
  /** Cases of one seed and index are the same on every machine. */
  readonly seed: number;
  readonly index: number;
  /** The types to draw from: those that the device computes in, or the one that was asked for. */
  readonly floatTypes: readonly FloatType[];
}

/**
 * Query-key pairs times D of a case, over all heads, if it were not sparse, and how often each is allowed. The judge's time
 * follows it: most cases are small, so that thousands take minutes, and some cross several tiles both ways.
 */
const largestWork = [
  [60, 60_000],
  [22, 300_000],
  [14, 1_100_000],
  [4, 3_000_000],
] as const;

/**
 * One small random case: B 1 to 3, Tq and Tk 1 to 200, grouped heads, D 16 to 256, any pattern, type, scale and layout.
 * It follows from (seed, index, floatTypes) alone, and all but its type from (seed, index).
 */
export function randomAttentionCase({ seed, index, floatTypes }: RandomCaseOptions): RandomAttentionCase {
  const draws = new Draws(seed, index);
  const dtype = draws.pick(floatTypes);
  const kinds = Object.keys(randomPatterns) as RandomPatternKind[];
  const kind = draws.weighted(kinds.map((name) => [randomPatterns[name].weight, name] as const));
  const layout = drawLayout(draws);
  const sizes = drawSizes(draws, layout.oneProjection === true);
  const scale = drawScale(draws, sizes.D);
  const pattern = randomPatterns[kind].make(draws, sizes);
  const facts = { ...sizes, dtype, ...scale, ...layout };
  const text = Object.entries(facts).map(([name, value]) => `${name} ${value}`);
  return { ...facts, kind, pattern, seed: draws.seed(), name: `${kind}, ${text.join(", ")}` };
}

/** Cases `first` to `first + count - 1` of a seed, for `scfa selftest --random`; see `runAttentionCase` for `redraw`. */
export function randomConformance({
  count,
  first = 0,
  ...options
}: Omit<RandomCaseOptions, "index"> & { count: number; first?: number }): ConformanceCase[] {
  return Array.from({ length: count }, (_, n) => {
    const index = first + n;
    const { name, kind, ...rest } = randomAttentionCase({ ...options, index });
    return {
      name: `random ${options.seed}/${index}: ${name}`,
      room: `random: ${kind}`,
      repeat: ["--random", "1", "--seed", `${options.seed}`, "--first", `${index}`],
      run: (device) => runAttentionCase(device, { name, ...rest }, { redraw: true }),
    };
  });
}

function drawLayout(draws: Draws): Pick<AttentionCase, "oneProjection" | "rowPadding"> {
  return draws.weighted([
    [6, {}],
    [2, { oneProjection: true }],
    [2, { rowPadding: 8 * draws.whole(1, 4) }],
    // Rows that begin at no multiple of 16 bytes: allowed by the contract, so a device has to do something about it.
    [0.5, { rowPadding: draws.pick([1, 2, 3, 5]) }],
  ] as const);
}

function drawSizes(draws: Draws, sameLength: boolean) {
  const D = draws.weighted([
    [4, 64],
    [3, 128],
    [3, 8 * draws.whole(2, 32)],
  ] as const);
  const longest = draws.weighted([
    [1, 4],
    [2, 20],
    [3, 70],
    [3, 135],
    [2, 200],
  ] as const);
  // Now and then close to the longest, so that tiles of 64 and 128 are crossed by a little.
  const length = () => draws.whole(draws.chance(0.4) ? Math.max(1, longest - 8) : 1, longest);
  let Tk = length();
  let Tq = sameLength || draws.chance(0.6) ? Tk : length();
  if (!sameLength && draws.chance(0.05)) Tq = 1;
  let B = draws.weighted([
    [3, 1],
    [2, 2],
    [1, 3],
  ] as const);
  let Hk = draws.pick([1, 1, 2, 3]);
  let group = draws.pick([1, 1, 2, 3]);
  const most = draws.weighted(largestWork);
  const tooMuch = () => B * Hk * group * Tq * Tk * D > most;
  // What is least likely to matter goes first; a long row of one head still crosses several tiles.
  while (tooMuch() && B * Hk * group > 1) {
    if (B > 1) B--;
    else if (Hk > 1 && (group === 1 || draws.chance(0.5))) Hk--;
    else group--;
  }
  const keepsLonger = !sameLength && draws.chance(0.7);
  while (tooMuch()) {
    const shrinks = { q: Tq >= Tk, k: Tk >= Tq };
    if (keepsLonger && Math.min(Tq, Tk) > 1) [shrinks.q, shrinks.k] = [Tq < Tk, Tq >= Tk];
    if (shrinks.q) Tq = Math.ceil(Tq / 2);
    if (shrinks.k) Tk = Math.ceil(Tk / 2);
  }
  return { B, Tq, Tk, H: Hk * group, Hk, D };
}

/**
 * The usual scale, scores near 0, scores whose softmax is nearly one key, and keys that repel. Not more than 4 times the
 * usual: a backward computes weights again from a float32 lse, whose rounding is worth |lse| 2^-24 of a weight, while the
 * baseline keeps its weights. At 16 times the usual, with |lse| near 40, float64 arithmetic in all but that one rounding
 * passes the budget of float32 by up to 1.4 where few queries see a key (dv of 1/1157 and 5/1546, drawn so).
 */
function drawScale(draws: Draws, D: number): Pick<AttentionCase, "scale"> {
  const usual = 1 / Math.sqrt(D);
  return draws.weighted([
    [6, {}],
    [1, { scale: usual / 16 }],
    [1, { scale: usual * 4 }],
    [1, { scale: -usual }],
    [0.3, { scale: 0 }],
  ] as const);
}
