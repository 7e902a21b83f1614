// A long context as a user would want it: models of 64k tokens of context that train for the same time on one GPU, and what each has
// of its context: the validation loss by position, and whether it finds a passage of the text again that stands far back. The first half of
// the time goes to texts of --school tokens, which teach sooner and cost all of them about the same; with --school 0 there are none.
// Usage, in a built checkout or a packed folder, with tokens made as ../text/make.mjs says:
//   node experiments/long/run.mjs --data DATA [--device cuda] [--seconds 250] [--school 4096] [--context 65536] [--out FILE] [RUN ...]
import { openDataset } from "../../dist/data/index.js";
import { modelPresets } from "../../dist/gpt/index.js";
import { chosenRuns, newParameters, openExperiment, training } from "../training.mjs";

const { flags, runs } = chosenRuns({
  folder: import.meta.dirname,
  flags: { data: "data", seconds: 250, school: 4096, context: 65536, layers: 12, width: 768, every: 100 },
  runs: {
    "window + hash": { attention: "window(256):6 hash(16):6" },
    dense: { attention: "dense", positions: "rope" },
    "window + dense": { attention: "window(256):6 dense:6" },
    window: { attention: "window(256)" },
    "window + hash balanced": { attention: "window(256):6 hash(16, balanced=true):6" },
  },
});
const { seconds, school, context, layers, width, every: evalEvery } = flags;

/** What a run goes through, each with as many tokens a step; the learning rate rises in each and comes down in the last alone. */
const stages =
  school === 0
    ? [{ T: context, seconds }]
    : [
        { T: school, seconds: seconds / 2, schedule: "constant" },
        { T: context, seconds: seconds / 2, schedule: "cosine" },
      ];

/** The passage: how much of it is given as a cue where it comes again, and how much is to be found. */
const passage = { cue: 16, found: 48 };
const probeTexts = 8;

const { device, record } = await openExperiment("long", flags);
const data = await openDataset(flags.data);
for (const [run, differs] of runs) {
  // Heads that see far go by content alone: a learned table has too little to learn 64k positions from. Keys are not the queries.
  const own = { positions: "rope-windows", sharedQK: false };
  const model = { ...modelPresets["paper-124m"], context, layers, width, ...own, ...differs };
  const parameters = newParameters(device, model);
  const before = { step: 0, tokens: 0, elapsedMs: 0 };
  for (const stage of stages) {
    const measured = await learn({ run, differs, model, parameters, before, ...stage });
    for (const name in before) before[name] = measured[name];
  }
  parameters.dispose();
}
await data.close();
device.dispose();

/** One stage, recorded with what came before it counted in. @returns what was measured last */
async function learn({ run, differs, model, parameters, before, T, seconds, schedule }) {
  // By time: `steps` is the grain of the learning rate's course.
  const stage = { context: T, batch: Math.max(1, Math.floor(context / T)), steps: 1000, ...(schedule && { schedule }) };
  const train = { ...stage, evalEvery, evalBatches: 8 };
  for await (const measured of training({ device, model, train, data, seconds, parameters })) {
    const { gpt, isLast, lossByPosition, ...others } = measured;
    for (const name in before) others[name] += before[name];
    const last = isLast && T === context && { lossByPosition, probe: await probe(gpt) };
    record({
      run,
      ...differs,
      sharedQK: model.sharedQK,
      context: T,
      seconds: flags.seconds,
      school,
      ...others,
      ...last,
    });
    const { step, valLoss, stepMs } = others;
    console.log(
      `${run}, T ${T}, step ${step}: perplexity ${Math.exp(valLoss).toFixed(2)}, ${stepMs.toFixed(1)} ms a step`,
    );
    if (last) console.log(JSON.stringify(last.probe));
    if (isLast) return others;
  }
}

/**
 * Ends validation texts with the passage that follows them, once as it is and once for each distance with the same passage planted
 * so far before.
 * @returns [distance, loss of the passage in nats a token after its cue][]; distance 0 is that of a passage that was not planted
 */
async function probe(gpt) {
  const length = passage.cue + passage.found;
  const distances = [256, 1024, 4096, 8192, 16384, 32768, 61440].filter((distance) => distance + length <= gpt.T);
  const sums = new Map([0, ...distances].map((distance) => [distance, 0]));
  const end = gpt.T - length;
  for (let index = 0; index < probeTexts; index++) {
    const start = Math.floor((index * (data.validation.count - gpt.T - length)) / probeTexts);
    const text = Int32Array.from(await data.validation.read(start, gpt.T + length));
    for (const distance of sums.keys()) {
      const tokens = text.slice(0, gpt.T);
      for (const at of new Set([end, end - distance])) tokens.set(text.subarray(gpt.T), at);
      const losses = await lossesOf(gpt, tokens, index);
      // The loss at a place is that of the token after it.
      const found = losses.subarray(end + passage.cue - 1, end + length - 1);
      sums.set(distance, sums.get(distance) + found.reduce((sum, loss) => sum + loss, 0) / found.length);
    }
  }
  return [...sums].map(([distance, sum]) => [distance, sum / probeTexts]);
}

/** Loss of the token after each of `tokens`; the last has none. */
async function lossesOf(gpt, tokens, index) {
  const targets = new Int32Array(tokens.length).fill(-1);
  targets.set(tokens.subarray(1));
  await gpt.evaluate({ tokens, targets }, { draw: { seed: 1, index } });
  return gpt.losses.read();
}
