// The task: facts, a key and its value after it, planted in a long text of no meaning; at the end every fact is asked for by its
// key, in an order of its own (after multi-query associative recall, arXiv 2312.04927). Only the answers are learned, and they never
// stand in the questions: else a model takes what was not answered yet for the answer, and goes no further.
//
//     . . K3 V3 . . . K1 V1 . . . . K2 V2 . . .   K1 . K2 . K3 .
//                                                 V1   V2   V3     targets
//
// A lesson is the same with nothing between: facts of a few keys again and again, each asked for wherever it has stood before. It asks
// several times as often, without which small models learn which values there are, and no more.
//
//     K2 V2 K1 V1 K2 V2 K3 V3 K1 V1
//                 V2          V1                                   targets
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
 * A source of sequences, as src/train/data.ts asks for; a batch has its questions beside its tokens, by rows: {at, answer, distance}
 * are the place of a question, and how many tokens before it the fact's key stands.
 * @param T tokens of a sequence
 * @param facts in a sequence; T is at least ten for each, or four in a lesson
 * @param isLesson whether there is nothing between
 * @param seed what all is drawn from
 * @param count sequences to test on; there is no end of those to train on
 */
export function recallTask({ T, facts, isLesson = false, seed, count }) {
  const leastEach = isLesson ? 4 : 10;
  if (T < leastEach * facts)
    throw new Error(`recallTask: T must be at least ${leastEach} for each fact, got T=${T}, facts=${facts}.`);
  const drawRow = isLesson ? drawLesson : drawText;
  const batch = (rows, step) => {
    const drawn = rows.map((row) => drawRow({ T, facts, seed: deriveSeed(seed, step, row) }));
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

/** Distances of the facts from the end of the text are spread evenly on a logarithmic scale. */
function drawText({ T, facts, seed }) {
  const { below, choose, uniform } = drawsOf(seed);
  const textEnd = T - 2 * facts;
  const tokens = noise(T, seed);
  const targets = new Int32Array(T).fill(-1);
  const keyOf = choose(facts, kinds.keys);
  const turnOf = choose(facts, facts);
  const isTaken = new Uint8Array(textEnd);
  const questions = turnOf.map((turn, fact) => {
    let at;
    do at = textEnd - Math.ceil(nearest * (textEnd / nearest) ** uniform());
    while (isTaken[at] || isTaken[at + 1]);
    isTaken.fill(1, at, at + 2);
    const [key, answer, question] = [keyOf[fact], kinds.keys + below(kinds.values), textEnd + 2 * turn];
    tokens.set([key, answer], at);
    tokens[question] = key;
    targets[question] = answer;
    return { at: question, answer, distance: question - at };
  });
  return { tokens, targets, questions };
}

function drawLesson({ T, facts, seed }) {
  const { below, choose } = drawsOf(seed);
  const tokens = new Int32Array(T);
  const targets = new Int32Array(T).fill(-1);
  const keyOf = choose(facts, kinds.keys);
  const answerOf = keyOf.map(() => kinds.keys + below(kinds.values));
  const lastAt = new Map();
  const questions = [];
  for (let at = 0; at + 1 < T; at += 2) {
    const fact = below(facts);
    tokens.set([keyOf[fact], answerOf[fact]], at);
    if (lastAt.has(fact)) {
      targets[at] = answerOf[fact];
      questions.push({ at, answer: answerOf[fact], distance: at - lastAt.get(fact) });
    }
    lastAt.set(fact, at);
  }
  return { tokens, targets, questions };
}

function drawsOf(seed) {
  let drawn = 0;
  const uniform = () => uniformAt(seed, streams.facts, drawn++);
  const below = (n) => Math.floor(n * uniform());
  /** `count` different numbers below n in any order. */
  const choose = (count, n) => {
    const all = Array.from({ length: n }, (_, i) => i);
    for (let i = 0; i < count; i++) {
      const j = i + below(n - i);
      [all[i], all[j]] = [all[j], all[i]];
    }
    return all.slice(0, count);
  };
  return { uniform, below, choose };
}

/** Tokens of no meaning, of which each draw gives eight, a byte each. */
function noise(T, seed) {
  const { keys, values } = kinds;
  const words = new Uint32Array(2 * Math.ceil(T / 8));
  for (let i = 0; i < words.length; i += 2) threefry2x32([seed, streams.noise], [i, 0], words.subarray(i, i + 2));
  return Int32Array.from(new Uint8Array(words.buffer, 0, T), (byte) => keys + values + (byte % kinds.noise));
}
