// The task: facts, a value and its key after it, planted in a long text of no meaning; at the end every fact is asked for by its
// key, in an order of its own (after multi-query associative recall, arXiv 2312.04927). Only the answers are learned, and they never
// stand in the questions: else a model takes what was not answered yet for the answer, and goes no further.
//
//     . . V3 K3 . . . V1 K1 . . . . V2 K2 . . .   K1 . K2 . K3 .
//                                                 V1   V2   V3     targets
//
// The value stands first because a key then looks for itself, and what it finds need know only the token before it. The other way
// round both have to be learned at once, which small models do not in thousands of steps.
import { deriveSeed, threefry2x32, uniformAt } from "../../dist/rng.js";

/** Tokens by kind: keys from 0 on, then values, then those of no meaning. */
export const kinds = { keys: 64, values: 16, noise: 16 };
export const vocabulary = kinds.keys + kinds.values + kinds.noise;

/** Second key words of the draws of a sequence. */
const streams = { noise: 0x6e6f6973, facts: 0x66616374 };
/** The least distance from a fact to the questions. */
const nearest = 8;
/** The step of all sequences to test on. */
const testStep = 0xffffffff;

/**
 * A source of sequences, as src/train/data.ts asks for; a batch has its questions beside its tokens, by rows, as `drawSequence`
 * returns them.
 * @param T tokens of a sequence
 * @param facts in a sequence; T is at least ten for each
 * @param seed what all is drawn from
 * @param count sequences to test on; there is no end of those to train on
 */
export function recallTask({ T, facts, seed, count }) {
  if (T < 10 * facts)
    throw new Error(`recallTask: T must be at least ten times the facts, got T=${T}, facts=${facts}.`);
  const batch = (rows, step) => {
    const drawn = rows.map((row) => drawSequence({ T, facts, seed: deriveSeed(seed, step, row) }));
    const joined = (name) =>
      Int32Array.from({ length: drawn.length * T }, (_, n) => drawn[Math.floor(n / T)][name][n % T]);
    return { tokens: joined("tokens"), targets: joined("targets"), questions: drawn.map(({ questions }) => questions) };
  };
  const rowsFrom = (first, n) => Array.from({ length: n }, (_, b) => first + b);
  return {
    name: "recall",
    vocabularySize: vocabulary,
    windows: () => count,
    sample: async ({ B, step, firstRow = 0 }) => batch(rowsFrom(firstRow, B), step),
    sequential: async ({ B, index }) => batch(rowsFrom(index * B, Math.min(B, count - index * B)), testStep),
  };
}

/**
 * One sequence. Distances of the facts from the end of the text are spread evenly on a logarithmic scale.
 * @returns {tokens, targets, questions: {at, answer, distance}[]}: the place of a question, and how many tokens before it the fact's
 *   key stands
 */
function drawSequence({ T, facts, seed }) {
  let drawn = 0;
  const below = (n) => Math.floor(n * uniformAt(seed, streams.facts, drawn++));
  /** `count` different numbers below n in any order. */
  const choose = (count, n) => {
    const all = Array.from({ length: n }, (_, i) => i);
    for (let i = 0; i < count; i++) {
      const j = i + below(n - i);
      [all[i], all[j]] = [all[j], all[i]];
    }
    return all.slice(0, count);
  };
  const { keys, values } = kinds;
  const textEnd = T - 2 * facts;
  const tokens = noise(T, seed);
  const targets = new Int32Array(T).fill(-1);
  const keyOf = choose(facts, keys);
  const turnOf = choose(facts, facts);
  const isTaken = new Uint8Array(textEnd);
  const questions = turnOf.map((turn, fact) => {
    let at;
    do at = textEnd - Math.ceil(nearest * (textEnd / nearest) ** uniformAt(seed, streams.facts, drawn++));
    while (isTaken[at] || isTaken[at + 1]);
    isTaken.fill(1, at, at + 2);
    const [key, value, question] = [keyOf[fact], keys + below(values), textEnd + 2 * turn];
    tokens.set([value, key], at);
    tokens[question] = key;
    targets[question] = value;
    return { at: question, answer: value, distance: question - at - 1 };
  });
  return { tokens, targets, questions };
}

/** Tokens of no meaning, of which each draw gives eight, a byte each. */
function noise(T, seed) {
  const { keys, values } = kinds;
  const words = new Uint32Array(2 * Math.ceil(T / 8));
  for (let i = 0; i < words.length; i += 2) threefry2x32([seed, streams.noise], [i, 0], words.subarray(i, i + 2));
  return Int32Array.from(new Uint8Array(words.buffer, 0, T), (byte) => keys + values + (byte % kinds.noise));
}
