// A small language model trained from code: bytes of a sentence that repeats, until it knows it by heart.
import assert from "node:assert/strict";
import { openDevice } from "scfa";
import { generate, ModelParameters, parseModelConfig, TrainStep } from "scfa/gpt";

const text = new TextEncoder().encode("The sea is calm tonight. ".repeat(40));
const T = 128;
const device = await openDevice("cpu");
const config = parseModelConfig({
  layers: 1,
  heads: 2,
  width: 32,
  vocabulary: 256,
  context: T,
  positions: "rope",
  sharedQK: true,
  attention: "window(16):1 hash(4):1",
});
const parameters = new ModelParameters(device, config);
parameters.initialize();
const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };
const trainStep = new TrainStep(parameters, { batch: 2, optimizer });

const losses = [];
for (let step = 0; step < 150; step++) {
  const starts = [(step * 31) % 500, (step * 57) % 500];
  const rows = (shift) => Int32Array.from(starts.flatMap((at) => [...text.subarray(at + shift, at + shift + T)]));
  const batch = { tokens: rows(0), targets: rows(1) };
  const { loss } = await trainStep.run({ lr: 1e-2, batch: async () => ({ batch, draw: { seed: 1, index: step } }) });
  losses.push(loss);
}

const written = [];
const prompt = new TextEncoder().encode("The sea");
for await (const token of generate(parameters, prompt, { count: 43, temperature: 0 })) written.push(token);
device.dispose();

const continuation = new TextDecoder().decode(Uint8Array.from(written));
console.log(`loss ${losses[0].toFixed(2)} -> ${losses.at(-1).toFixed(3)} nats a byte`);
console.log(`"The sea" goes on: "${continuation}"`);
assert.ok(losses[0] > 5 && losses.at(-1) < 0.2);
assert.ok(continuation.startsWith(" is calm tonight. The sea"));
