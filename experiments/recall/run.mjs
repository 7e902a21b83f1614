import { chosenRuns, openExperiment, training } from "../training.mjs";
import { recallTask, vocabulary } from "./task.mjs";

const { flags, runs } = chosenRuns({
  folder: import.meta.dirname,
  flags: {
    context: "512",
    facts: "32",
    steps: "1000",
    batch: "8",
    layers: "2",
    heads: "2",
    width: "128",
    lr: "1e-3",
    window: "64",
    evalEvery: "100",
    positions: "rope",
  },
  runs: {
    dense: { attention: "dense" },
    window: { attention: "window(64)" },
    "window + dense": { attention: "window(64):1 dense:1" },
    c: { attention: ["window(2)", "dense"] },
    cw: { attention: ["window(2)", "window(64)"] },
    ch: { attention: ["window(2)", "hash(16, balanced=true)"] },
    ch4: { attention: ["window(2)", "hash(4, balanced=true)"] },
    chs: { attention: ["window(2)", "hash(16, balanced=true)"], sharedQK: true },
    "window + hash": { attention: "window(64):1 hash(16, balanced=true):1" },
    "window + hash 4": { attention: "window(64):1 hash(4, balanced=true):1" },
    "window + hash plain": { attention: "window(64):1 hash(16):1" },
    "window + hash shared": { attention: "window(64):1 hash(16, balanced=true):1", sharedQK: true },
  },
});
const {
  context: T,
  facts,
  steps,
  batch,
  layers,
  heads,
  width,
  lr,
  evalEvery,
} = Object.fromEntries(Object.entries(flags).map(([k, v]) => [k, Number(v)]));
const { device, record } = await openExperiment("recall", flags);
const data = {
  train: recallTask({ T, facts, seed: 1, count: 0 }),
  validation: recallTask({ T, facts, seed: 2, count: 64 }),
};
data.train.windows = () => 1;
for (const [run, differs] of runs) {
  const model = {
    layers,
    heads,
    width,
    vocabulary: vocabulary.size,
    context: T,
    positions: flags.positions,
    ...differs,
  };
  const train = { batch, steps, lr, evalEvery, evalBatches: 4, warmupShare: 0.1, weightDecay: 0.1 };
  for await (const { gpt, isLast, lossByPosition, ...measured } of training({ device, model, train, data })) {
    const acc = await accuracy(gpt, data.validation);
    console.log(
      run,
      measured.step,
      measured.loss.toFixed(3),
      measured.valLoss.toFixed(3),
      measured.visibleShare.toFixed(3),
      measured.stepMs.toFixed(1),
      JSON.stringify(acc),
    );
  }
}
device.dispose();
async function accuracy(gpt, source) {
  const bins = {};
  let [right, all] = [0, 0];
  const V = vocabulary.size;
  for (let index = 0; index < Math.min(4, Math.ceil(64 / gpt.B)); index++) {
    const b = await source.sequential({ B: gpt.B, T: gpt.T, index });
    if (b.questions.length < gpt.B) break;
    await gpt.evaluate(b, { draw: { seed: 9, index } });
    for (const [n, qs] of b.questions.entries()) {
      const first = gpt.T - 2 * facts;
      const logits = await gpt.logits({ first: n * gpt.T + first, count: 2 * facts });
      for (const { at, answer, distance } of qs) {
        const row = logits.subarray((at - first) * V, (at - first + 1) * V);
        const ok = row[answer] >= Math.max(...row);
        const bin = 2 ** Math.ceil(Math.log2(distance));
        bins[bin] ??= [0, 0];
        bins[bin][0] += ok;
        bins[bin][1]++;
        right += ok;
        all++;
      }
    }
  }
  return [(right / all).toFixed(3), ...Object.entries(bins).map(([k, [r, a]]) => `${k}: ${(r / a).toFixed(2)}`)];
}
