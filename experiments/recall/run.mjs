// Where far context decides: small models learn to answer for facts planted up to T tokens back (./task.mjs), once for each kind of
// attention; recorded is how many of their answers are right, by distance. All go to one school, in which the heads that may see far
// are dense: lessons first, then short texts. In long ones there is next to nothing to be had from attention that has found nothing
// yet, and in short ones hashing shows next to nothing. Then each goes on to longer texts with attention of its own.
// A stage ends early once nearly all answers are right.
// Usage, in a built checkout or a packed folder:
//   node experiments/recall/run.mjs [--device cuda] [--school 64,256] [--contexts 1024,4096,16384,65536] [--steps 3000] [RUN ...]
import { chosenRuns, newParameters, openExperiment, training } from "../training.mjs";
import { recallTask, vocabulary } from "./task.mjs";

/** What the three heads of each layer that may see far see; null for no more than a window. */
const { flags, runs } = chosenRuns({
  folder: import.meta.dirname,
  flags: {
    ...{ school: "64,256", contexts: "1024,4096,16384,65536", facts: 48, steps: 3000, tokens: 32768, tests: 8 },
    ...{ layers: 2, width: 128, window: 64, lr: 5e-4 },
  },
  runs: {
    window: { far: null },
    "window + dense": { far: "dense" },
    "window + hash": { far: "hash(16)" },
    "8 buckets": { far: "hash(8)" },
    "4 buckets": { far: "hash(4)" },
    balanced: { far: "hash(16, balanced=true)" },
    "fixed rotations": { far: "hash(16)", rotations: "fixed" },
    "shared keys": { far: "hash(16)", sharedQK: true },
    // The heads that see far have positions too: in all that they do, or not in what they hash.
    turned: { far: "hash(16)", positions: "rope" },
    "turned scores": { far: "hash(16)", positions: "rope-scores" },
  },
});
const [school, contexts] = [flags.school, flags.contexts].map((list) => list.split(",").map(Number));
const { facts: mostFacts, steps, tokens, tests: leastTests, layers, width, window, lr } = flags;
const enough = 0.98;
/** Of what school begins with: tokens, and facts among them. */
const lessons = [
  [32, 4],
  [64, 8],
];

const { device, record } = await openExperiment("recall", flags);
/** Parameters after school, by what of a run counts there. */
const schooled = new Map();
for (const [run, { far, ...others }] of runs) {
  const model = modelOf(far ?? `window(${window})`, others);
  const { sharedQK, positions } = model;
  // Where nothing is hashed, scores are all that positions turn.
  const common = { sharedQK, positions: positions === "rope-scores" ? "rope" : positions };
  const name = JSON.stringify(common);
  if (!schooled.has(name)) {
    const pupil = modelOf("dense", common);
    const parameters = newParameters(device, pupil);
    const stages = [
      ...lessons.map(([T, facts]) => ({ T, facts, isLesson: true })),
      ...school.map((T) => ({ T, facts: factsOf(T) })),
    ];
    for (const stage of stages)
      await learn(`school for ${run}`, { model: pupil, parameters, ...stage, most: steps, rate: lr });
    schooled.set(name, parameters);
  }
  const parameters = newParameters(device, model);
  parameters.copyFrom(schooled.get(name));
  for (const T of contexts) {
    await learn(run, { model, parameters, T, facts: factsOf(T), most: Math.ceil(steps / 5), rate: lr / 2 });
  }
  parameters.dispose();
}
for (const parameters of schooled.values()) parameters.dispose();
device.dispose();

/**
 * The other head sees one token back: a short convolution, which tells a value which key stands before it. Each of the three
 * hashes anew, so that what one misses another finds. With a wider window among them our models got no further than to count values.
 */
function modelOf(far, others) {
  const attention = `window(2):1 ${far}:3`;
  const context = Math.max(...school, ...contexts);
  const defaults = { layers, heads: 4, width, vocabulary, context, positions: "rope-windows", sharedQK: false };
  return { ...defaults, attention, ...others };
}

function factsOf(T) {
  return Math.min(mostFacts, Math.floor(T / 10));
}

/** One stage: at most so many steps on sequences of T tokens. */
async function learn(run, { model, parameters, T, facts, isLesson = false, most, rate }) {
  const batch = Math.max(1, Math.round(tokens / T));
  const task = { T, facts, isLesson, batch, tests: Math.ceil(leastTests / batch) };
  const count = task.tests * batch;
  const data = { train: recallTask({ ...task, seed: 1, count }), validation: recallTask({ ...task, seed: 2, count }) };
  const evalEvery = Math.max(1, Math.round(steps / 30));
  const train = {
    context: T,
    batch,
    steps: most,
    lr: rate,
    schedule: "constant",
    warmupShare: 0.1,
    evalEvery,
    evalBatches: task.tests,
  };
  for await (const measured of training({ device, model, train, data, parameters })) {
    const { gpt, isLast, lossByPosition, ...others } = measured;
    const { accuracy, byDistance } = await answers(gpt, data.validation, task);
    const isDone = isLast || accuracy >= enough;
    const { attention, rotations, sharedQK, positions } = model;
    const which = { run, attention, rotations, sharedQK, positions, layers, width, context: T, facts, isLesson, batch };
    record({ ...which, ...others, isDone, accuracy, byDistance });
    if (!isDone) continue;
    const percent = `${(100 * accuracy).toFixed(1)} % right`;
    const shares = byDistance.map(([end, share]) => `${end}: ${share.toFixed(2)}`).join(" ");
    console.log(`${run}, T ${T}, step ${others.step}: ${percent}, ${others.stepMs.toFixed(1)} ms a step; ${shares}`);
    break;
  }
}

/**
 * The share of the test's questions whose answer is the likeliest token.
 * @returns {accuracy, byDistance}: of all, and [end, share, questions][] of distances above the end before and up to this one
 */
async function answers(gpt, source, { T, batch, tests }) {
  const bins = new Map();
  const all = { right: 0, count: 0 };
  for (let index = 0; index < tests; index++) {
    const asked = await source.sequential({ B: batch, index });
    await gpt.evaluate(asked, { draw: { seed: 3, index } });
    for (const [b, questions] of asked.questions.entries()) {
      const first = Math.min(...questions.map(({ at }) => at));
      const logits = await gpt.logits({ first: b * T + first, count: T - first });
      for (const { at, answer, distance } of questions) {
        const own = logits.subarray((at - first) * vocabulary, (at - first + 1) * vocabulary);
        const end = 2 ** Math.ceil(Math.log2(distance));
        if (!bins.has(end)) bins.set(end, { right: 0, count: 0 });
        const isRight = own.every((logit, token) => token === answer || logit < own[answer]);
        for (const counted of [bins.get(end), all]) {
          counted.count++;
          if (isRight) counted.right++;
        }
      }
    }
  }
  const byDistance = [...bins].sort(([a], [b]) => a - b).map(([end, { right, count }]) => [end, right / count, count]);
  return { accuracy: all.right / all.count, byDistance };
}
