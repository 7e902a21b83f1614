// Hashed attention finds what dense attention would: each query's own key, hidden among thousands of others.
import assert from "node:assert/strict";
import { attention, lsh, openDevice, pattern, plan } from "scfa";

const [B, T, H, D] = [1, 4096, 1, 64];
const buckets = 16;
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
// The second half repeats the first, a little changed, and values tell where they stand, in two digits of base 64, which
// are exact in every float type.
const x = Float32Array.from({ length: T * D }, normal);
for (let i = (T / 2) * D; i < T * D; i++) x[i] = x[i - (T / 2) * D] + 0.05 * normal();
const places = new Float32Array(T * D);
for (let t = 0; t < T; t++) places.set([Math.floor(t / 64), t % 64], t * D);

const device = await openDevice("cpu");
const [q, v] = [x, places].map((data) => device.tensor(data, [B, T, H, D], device.capabilities.floatTypes[0]));
const bucketOf = lsh(q, { buckets, seed: 1 });
// Without the diagonal: a query must not see itself, which it would like best.
const hashed = pattern.hash({ qBuckets: bucketOf, kBuckets: bucketOf, diagonal: false });
const { o } = attention(q, q, v, { pattern: hashed, scale: 1 });
const { visibleShare } = await plan(hashed, { B, Tq: T, Tk: T, H, Hk: H });
const found = await o.read();
device.dispose();

let right = 0;
for (let t = T / 2; t < T; t++) {
  if (64 * Math.round(found[t * D]) + Math.round(found[t * D + 1]) === t - T / 2) right++;
}
const share = right / (T / 2);
console.log(`${(100 * share).toFixed(1)} % of the copies find their original among ${T} positions,`);
console.log(`looking at ${(100 * visibleShare).toFixed(1)} % of the pairs`);
assert.ok(share > 0.75, "most copies fall into the bucket of their original");
assert.ok(visibleShare < 2 / buckets, "about one pair in sixteen is looked at");
