// Whether training on the GPU follows training on the CPU: the same small models, seeds and text, step by step.
//
//   node bench/cuda/same_losses.mjs [steps=40]
//
// Prints the largest difference of a loss, relative to the CPU's float32 loss, and exits with 1 where it exceeds four
// roundings of the type computed in: 4 * 2^-8 for bf16, 4 * 2^-11 for f16 with its loss scale.
import { readdirSync, readFileSync } from "node:fs";
import { ModelParameters, modelPresets, parseModelConfig, TrainStep } from "../../dist/gpt/index.js";
import { openDevice } from "../../dist/index.js";

const steps = Number(process.argv[2] ?? 40);
const folder = new URL("../../dist/device/cuda/", import.meta.url);
const kernels = readdirSync(folder).filter((name) => name.endsWith(".cu"));
const text = Buffer.concat(kernels.sort().map((name) => readFileSync(new URL(name, folder))));
const [B, T] = [2, 512];

/** Losses of training a model from its seed. */
async function losses(device, dtype, config) {
  const parameters = new ModelParameters(device, config, dtype);
  parameters.initialize();
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

const [cpu, cuda] = [await openDevice("cpu"), await openDevice("cuda")];
let isSame = true;
for (const attention of ["dense", "hash(4)", "window(64):2 hash(4):2", "drop(0.3)", "union(window(32), hash(4))"]) {
  const config = parseModelConfig({ ...modelPresets.demo, context: T, attention });
  const expected = await losses(cpu, "f32", config);
  for (const [dtype, budget] of [
    ["bf16", 4 * 2 ** -8],
    ["f16", 4 * 2 ** -11],
  ]) {
    const found = await losses(cuda, dtype, config);
    const apart = Math.max(...found.map((loss, n) => Math.abs(loss - expected[n]) / expected[n]));
    const verdict = apart <= budget ? "ok" : "TOO FAR";
    isSame &&= apart <= budget;
    console.log(
      `${attention.padEnd(28)} ${dtype.padEnd(5)} loss ${expected[0].toFixed(3)} -> cpu ${expected.at(-1).toFixed(4)}, cuda ${found.at(-1).toFixed(4)}; ` +
        `apart by ${(100 * apart).toFixed(3)} % of ${(100 * budget).toFixed(3)} % ${verdict}`,
    );
  }
}
cpu.dispose();
cuda.dispose();
process.exit(isSame ? 0 : 1);
