// A pattern's staircase as plain data, printed: what a kernel is given, and what of it is visible.
import assert from "node:assert/strict";
import { openDevice, pattern, plan } from "scfa";

const T = 16;
const device = await openDevice("cpu");
const buckets = device.tensor(
  Int32Array.from({ length: T }, (_, t) => (t * 7 + (t >> 2)) % 3),
  [1, T, 1],
);
const shape = { B: 1, Tq: T, Tk: T, H: 1, Hk: 1 };
const { parts, visibleShare } = await plan(pattern.hash({ qBuckets: buckets, kBuckets: buckets }), shape);
device.dispose();

const [{ qRows, kRows, lo, hi }] = parts[0].heads;
console.log(`keys, in visit order: ${[...kRows].join(" ")}`);
for (let n = 0; n < T; n++) {
  const seen = Array.from({ length: T }, (_, m) => (m >= lo[n] && m < hi[n] ? "■" : "·"));
  console.log(`query ${String(qRows[n]).padStart(2)}  ${seen.join(" ")}  sees ${lo[n]} .. ${hi[n]}`);
}
console.log(`${(100 * visibleShare).toFixed(1)} % of the pairs of dense causal attention`);

// The bounds never go back, and every row stands at one place.
for (let n = 1; n < T; n++) assert.ok(lo[n] >= lo[n - 1] && hi[n] >= hi[n - 1]);
assert.deepEqual(new Set(qRows).size, T);
