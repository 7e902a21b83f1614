// Where the time of a training step goes on the GPU: milliseconds and calls of each op, launched one by one; then the same
// step as it runs in training, recorded: from an idle device to the losses on the host.
//
//   node bench/profile_step.mjs [attention=hash(16)] [T=16384] [tokens=32768] [device=cuda]

import { ModelParameters, modelPresets, parseModelConfig, TrainStep } from "../dist/gpt/index.js";
import { openDevice } from "../dist/index.js";

const [attention = "hash(16)", length = "16384", tokens = "32768", deviceName = "cuda"] = process.argv.slice(2);
const context = Number(length);
const batch = Number(tokens) / context;
const config = parseModelConfig({ ...modelPresets["paper-124m"], context, attention });

const device = await openDevice(deviceName);
const record = device.record.bind(device);
// Recorded launches are not seen one by one.
let isRecorded = false;
device.record = (run) => {
  const recording = record(run);
  return { replay: () => (isRecorded ? recording.replay() : run()), dispose: () => recording.dispose() };
};
const parameters = new ModelParameters(device, config);
// The weights' values do not matter for the time, but their being spread does.
const values = Float32Array.from({ length: 1 << 20 }, () => 0.05 * (Math.random() - 0.5));
for (let at = 0; at < parameters.layout.size; at += values.length) {
  const size = Math.min(values.length, parameters.layout.size - at);
  parameters.values.view([size], { offset: at }).write(values.subarray(0, size));
}
parameters.refresh();
const adamw = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };
const step = new TrainStep(parameters, { batch, context, optimizer: adamw });
const ids = Int32Array.from({ length: batch * context }, () => Math.floor(Math.random() * 50000));
let index = 0;
const run = () => {
  const draw = { seed: 1, index: index++ };
  return step.run({
    lr: 0, // so that the values stay spread
    batch: async () => ({ batch: { tokens: ids, targets: ids }, draw }),
    meanwhile: () => step.model.prepare({ seed: 1, index }),
  });
};
for (let i = 0; i < 3; i++) await run();

const sums = new Map();
for (const { op, ms } of await device.profile(async () => void (await run()))) {
  const sum = sums.get(op) ?? { ms: 0, calls: 0 };
  sums.set(op, { ms: sum.ms + ms, calls: sum.calls + 1 });
}
const total = [...sums.values()].reduce((all, { ms }) => all + ms, 0);
for (const [op, { ms, calls }] of [...sums].sort(([, a], [, b]) => b.ms - a.ms)) {
  console.log(
    `${op.padEnd(24)} ${ms.toFixed(3).padStart(9)} ms ${String(calls).padStart(5)} calls ${((100 * ms) / total).toFixed(1).padStart(5)} %`,
  );
}
console.log(
  `${"all".padEnd(24)} ${total.toFixed(3).padStart(9)} ms; peak ${(device.memory.peakBytes / 2 ** 30).toFixed(2)} GiB`,
);
isRecorded = true;
const wall = [];
for (let i = 0; i < 13; i++) {
  const start = performance.now();
  await run();
  wall.push(performance.now() - start);
}
const [median] = wall
  .slice(2)
  .sort((x, y) => x - y)
  .slice(5);
const share = 100 * (await step.model.visibleShare());
console.log(`recorded: ${median.toFixed(2)} ms a step; ${share.toFixed(1)} % of pairs visible`);
device.dispose();
