// Each group of heads has a pattern of its own, in one call; a union sees near keys and alike keys, each pair once.
import assert from "node:assert/strict";
import { attention, lsh, openDevice, pattern, plan } from "scfa";

const [B, T, H, D] = [1, 512, 6, 32];
const device = await openDevice("cpu");
const [q, k, v] = [0, 1, 2].map(() =>
  device.tensor(
    Float32Array.from({ length: B * T * H * D }, () => Math.random() - 0.5),
    [B, T, H, D],
    device.capabilities.floatTypes[0],
  ),
);
const hashOf = (heads) => {
  const options = { buckets: 8, seed: 1 };
  return {
    qBuckets: lsh(q.slice(2, heads.first, heads.count), options),
    kBuckets: lsh(k.slice(2, heads.first, heads.count), options),
  };
};
const mixed = pattern.heads([
  [2, pattern.window(32)],
  [2, pattern.hash(hashOf({ first: 2, count: 2 }))],
  [2, pattern.union(pattern.window(32), pattern.hash({ ...hashOf({ first: 4, count: 2 }), beyond: 32 }))],
]);
const { o, lse } = attention(q, k, v, { pattern: mixed });
const { parts } = await plan(mixed, { B, Tq: T, Tk: T, H, Hk: H });
const values = await o.read();
const sums = await lse.read();
device.dispose();

const shares = new Map();
for (const { h, visibleShare } of parts.flatMap((part) => part.heads)) {
  shares.set(h, (shares.get(h) ?? 0) + visibleShare);
}
for (const [h, share] of shares) console.log(`head ${h} sees ${(100 * share).toFixed(1)} % of the pairs`);

assert.ok(values.every(Number.isFinite));
assert.equal(sums.length, B * H * T);
assert.equal(shares.size, H);
// Heads 0 and 1 share one window; the union of heads 4 and 5 sees at least as much.
assert.equal(shares.get(0), shares.get(1));
assert.ok(shares.get(4) > shares.get(0));
