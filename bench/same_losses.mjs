// Whether training on the GPU follows training on the CPU: the same small models, seeds and text, step by step.
//
//   node bench/same_losses.mjs [cuda|webgpu] [steps=20]
//
// Prints the largest difference of a loss from the CPU's float32 loss, as a share of it, and exits with 1 where it exceeds
// its budget: twice what one rounding of the first weights to the type computed in (2^-9 of each for bf16, 2^-12 for f16,
// 2^-25 for f32, up or down by chance) does to the CPU's own training, the largest of five draws, and a floor of 1e-3. With hashed heads
// that is much: where a query stands near the border of two buckets, the least rounding chooses other keys for it.
import { readdirSync, readFileSync } from "node:fs";
import { ModelParameters, modelPresets, parseModelConfig, TrainStep } from "../dist/gpt/index.js";
import { openDevice } from "../dist/index.js";

const [name = "cuda", count = "20"] = process.argv.slice(2);
const steps = Number(count);
const floor = 1e-3;
const draws = 5;
const folder = new URL("../dist/device/cuda/", import.meta.url);
const kernels = readdirSync(folder).filter((name) => name.endsWith(".cu"));
const text = Buffer.concat(kernels.sort().map((name) => readFileSync(new URL(name, folder))));
const [B, T] = [2, 512];

/** Losses of training a model from its seed. @param moved changes the first weights, if given */
async function losses(device, dtype, config, moved = null) {
  const parameters = new ModelParameters(device, config, dtype);
  parameters.initialize();
  if (moved) {
    parameters.values.write((await parameters.values.read()).map(moved));
    parameters.refresh();
  }
  const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };
  const step = new TrainStep(parameters, { batch: B, context: T, optimizer });
  const found = [];
  for (let index = 0; index < steps; index++) {
    const at = (b, t) => text[(index * B * T + b * T + t) % text.length];
    const take = (shift) => Int32Array.from({ length: B * T }, (_, i) => at(Math.floor(i / T), (i % T) + shift));
    const batch = async () => ({ batch: { tokens: take(0), targets: take(1) }, draw: { seed: 1, index } });
    found.push((await step.run({ lr: 1e-3, batch })).loss);
  }
  step.dispose();
  parameters.dispose();
  return found;
}

/** Moves each value up or down by a share of it. */
function rounding(share, seed) {
  let state = seed;
  return (x) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return x * (state < 2 ** 31 ? 1 + share : 1 - share);
  };
}

const apart = (found, expected) => Math.max(...found.map((loss, n) => Math.abs(loss - expected[n]) / expected[n]));
const percent = (x) => `${(100 * x).toFixed(3)} %`;

/** What one rounding to a type changes at most, as a share. */
const roundings = { f32: 2 ** -25, f16: 2 ** -12, bf16: 2 ** -9 };

const [cpu, gpu] = [await openDevice("cpu"), await openDevice(name)];
console.log(`${gpu.description}, ${steps} steps`);
let isSame = true;
for (const attention of ["dense", "hash(4)", "window(64):2 hash(4):2", "drop(0.3)", "union(window(32), hash(4))"]) {
  const config = parseModelConfig({ ...modelPresets.demo, context: T, attention });
  const expected = await losses(cpu, "f32", config);
  for (const dtype of gpu.capabilities.floatTypes) {
    let own = 0;
    for (let draw = 1; draw <= draws; draw++) {
      own = Math.max(own, apart(await losses(cpu, "f32", config, rounding(roundings[dtype], draw)), expected));
    }
    const found = await losses(gpu, dtype, config);
    const [error, budget] = [apart(found, expected), 2 * own + floor];
    isSame &&= error <= budget;
    const ends = `loss ${expected[0].toFixed(3)} -> cpu ${expected.at(-1).toFixed(4)}, ${name} ${found.at(-1).toFixed(4)}`;
    const verdict = error <= budget ? "ok" : "TOO FAR";
    console.log(
      `${attention.padEnd(28)} ${dtype.padEnd(5)} ${ends}; apart by ${percent(error)} of ${percent(budget)} ${verdict}`,
    );
  }
}
cpu.dispose();
gpu.dispose();
process.exit(isSame ? 0 : 1);
