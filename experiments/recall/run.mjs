// Where far context decides: small models learn to answer for facts planted up to T tokens back (./task.mjs), once for each kind of
// attention; recorded is how many of their answers are right, by distance. They learn on short sequences first: in long ones there
// is next to nothing to be had from attention that has found nothing yet. A stage ends early once nearly all answers are right.
// Usage, in a built checkout or a packed folder:
//   node experiments/recall/run.mjs [--device cuda] [--contexts 64,256,1024,4096,16384,65536] [--steps 1500] [--layers 2] [RUN ...]
import { chosenRuns, newParameters, openExperiment, training } from "../training.mjs";
import { recallTask, vocabulary } from "./task.mjs";

/** What the two heads of each layer that may see far see; null for no more than the window that a third head has. */
const { flags, runs } = chosenRuns({
  folder: import.meta.dirname,
  flags: {
    ...{ contexts: "64,256,1024,4096,16384,65536", facts: "64", steps: "1500", tokens: "32768", tests: "8" },
    ...{ layers: "2", width: "256", window: "64", lr: "2e-3" },
  },
  runs: {
    window: { far: null },
    "window + dense": { far: "dense" },
    "window + hash": { far: "hash(16, balanced=true)" },
    "fixed rotations": { far: "hash(16, balanced=true)", rotations: "fixed" },
    "shared keys": { far: "hash(16, balanced=true)", sharedQK: true },
    "not balanced": { far: "hash(16)" },
    "4 buckets": { far: "hash(4, balanced=true)" },
  },
});
const contexts = flags.contexts.split(",").map(Number);
const [mostFacts, steps, tokens, leastTests] = ["facts", "steps", "tokens", "tests"].map((name) => +flags[name]);
const [layers, width, window, lr] = ["layers", "width", "window", "lr"].map((name) => +flags[name]);
const enough = 0.98;

const { device, record } = await openExperiment("recall", flags);
for (const [run, { far, ...others }] of runs) {
  // The fourth head sees one token back: a short convolution, which tells a value which key stands before it.
  const attention = `window(2):1 window(${window}):1 ${far ?? `window(${window})`}:2`;
  const differs = { attention, ...others };
  const context = Math.max(...contexts);
  const model = { layers, heads: 4, width, vocabulary, context, positions: "rope-windows", ...differs };
  const parameters = newParameters(device, model);
  for (const [stage, T] of contexts.entries()) {
    const batch = Math.max(1, Math.round(tokens / T));
    const task = { T, facts: Math.min(mostFacts, Math.floor(T / 10)), batch, tests: Math.ceil(leastTests / batch) };
    const count = task.tests * batch;
    const data = {
      train: recallTask({ ...task, seed: 1, count }),
      validation: recallTask({ ...task, seed: 2, count }),
    };
    const isShortest = stage === 0;
    const train = {
      ...{ context: T, batch, steps: isShortest ? steps : Math.ceil(steps / 5), evalBatches: task.tests },
      // Later stages begin where the first one ends.
      ...{ schedule: isShortest ? "constant" : "linear", lr: isShortest ? lr : lr / 2, warmupShare: 0.05 },
      evalEvery: Math.max(1, Math.round(steps / 30)),
    };
    for await (const measured of training({ device, model, train, data, parameters })) {
      const { gpt, isLast, lossByPosition, ...facts } = measured;
      const { accuracy, byDistance } = await answers(gpt, data.validation, task);
      const isDone = isLast || accuracy >= enough;
      record({
        run,
        ...differs,
        layers,
        width,
        context: T,
        facts: task.facts,
        batch,
        ...facts,
        isDone,
        accuracy,
        byDistance,
      });
      if (!isDone) continue;
      const shares = byDistance.map(([end, share]) => `${end}: ${share.toFixed(2)}`).join(" ");
      const percent = `${(100 * accuracy).toFixed(1)} % right`;
      console.log(
        `${run}, T ${T}, step ${facts.step}: ${percent}, ${facts.stepMs.toFixed(1)} ms a step, by distance ${shares}`,
      );
      break;
    }
  }
  parameters.dispose();
}
device.dispose();

/**
 * The share of the test's questions whose answer is the likeliest token.
 * @returns {accuracy, byDistance}: of all, and [end, share, questions][] of distances above the end before and up to this one
 */
async function answers(gpt, source, { T, facts, batch, tests }) {
  const bins = new Map();
  const all = { right: 0, count: 0 };
  for (let index = 0; index < tests; index++) {
    const asked = await source.sequential({ B: batch, index });
    await gpt.evaluate(asked, { draw: { seed: 3, index } });
    const first = T - 2 * facts;
    for (const [b, questions] of asked.questions.entries()) {
      const logits = await gpt.logits({ first: b * T + first, count: 2 * facts });
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
