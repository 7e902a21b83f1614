import { expect, test } from "vitest";
import { lsh } from "./lsh.ts";
import { openReferenceDevice } from "./reference/device.ts";
import { normalAt } from "./rng.ts";

const device = openReferenceDevice();
const normals = (shape: number[], stream = 1) => {
  const size = shape.reduce((n, d) => n * d, 1);
  return device.tensor(
    Float32Array.from({ length: size }, (_, n) => normalAt(5, stream, n)),
    shape,
  );
};

test("buckets lie in range, are all met, and depend on the seed", async () => {
  const x = normals([2, 100, 2, 16]);
  const buckets = await lsh(x, { buckets: 8, seed: 1 }).read();
  expect(buckets).toHaveLength(400);
  expect(new Set(buckets)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7]));
  expect(await lsh(x, { buckets: 8, seed: 1 }).read()).toEqual(buckets);
  expect(await lsh(x, { buckets: 8, seed: 2 }).read()).not.toEqual(buckets);
});

test("length does not matter, and the opposite vector falls into the opposite bucket", async () => {
  const x = normals([1, 50, 3, 16]);
  const values = await x.read();
  const scaled = device.tensor(
    values.map((v) => 4 * v),
    x.shape,
  );
  const opposite = device.tensor(
    values.map((v) => -v),
    x.shape,
  );
  const buckets = await lsh(x, { buckets: 16, seed: 3 }).read();
  expect(await lsh(scaled, { buckets: 16, seed: 3 }).read()).toEqual(buckets);
  expect(await lsh(opposite, { buckets: 16, seed: 3 }).read()).toEqual(buckets.map((bucket) => (bucket + 8) % 16));
});

test("queries hashed with kvHeads agree with the key heads that they read", async () => {
  const [B, T, H, Hk, D] = [1, 40, 6, 2, 16];
  const k = normals([B, T, Hk, D]);
  const keys = await k.read();
  // Each query is the key that its head reads.
  const q = Float32Array.from({ length: B * T * H * D }, (_, n) => {
    const [t, h, d] = [Math.floor(n / (H * D)), Math.floor(n / D) % H, n % D];
    return keys[(t * Hk + Math.floor((h * Hk) / H)) * D + d];
  });
  const kBuckets = await lsh(k, { buckets: 16, seed: 1 }).read();
  const qBuckets = await lsh(device.tensor(q, [B, T, H, D]), { buckets: 16, seed: 1, kvHeads: Hk }).read();
  expect(Array.from(qBuckets)).toEqual(
    Array.from({ length: B * T * H }, (_, n) => kBuckets[Math.floor(n / H) * Hk + Math.floor(((n % H) * Hk) / H)]),
  );
});

test.each([
  [{ buckets: 7, seed: 1 }, "lsh: buckets is an even number from 2 to 256, got 7."],
  [{ buckets: 0, seed: 1 }, "lsh: buckets is an even number from 2 to 256, got 0."],
  [{ buckets: 258, seed: 1 }, "lsh: buckets is an even number from 2 to 256, got 258."],
  [{ buckets: 8, seed: 1, kvHeads: 4 }, "lsh: kvHeads divides the heads of x, got H=6, kvHeads=4."],
])("says in one sentence what is wrong: %j", (options, message) => {
  expect(() => lsh(normals([1, 2, 6, 16]), options)).toThrow(message);
});
