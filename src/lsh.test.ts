import { expect, test } from "vitest";
import { openCpuDevice } from "./device/cpu/index.ts";
import { lsh } from "./lsh.ts";
import { pattern } from "./pattern/index.ts";
import { plan } from "./plan.ts";
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

test("where rows share a mean, plain buckets leave most pairs visible, and balanced ones about 1 in as many as they are", async () => {
  const cpu = await openCpuDevice({ threads: 1 });
  const [B, T, H, D] = [1, 1024, 2, 32];
  // The mean of each feature is some 5 deviations.
  const x = cpu.tensor(
    Float32Array.from({ length: T * H * D }, (_, n) => normalAt(1, 0, n) + 5 * normalAt(1, 1, n % (H * D))),
    [B, T, H, D],
  );
  const visibleShare = async (balanced: boolean) => {
    const buckets = lsh(x, { buckets: 16, seed: 1, balanced });
    const hashed = pattern.hash({ qBuckets: buckets, kBuckets: buckets, buckets: 16 });
    return (await plan(hashed, { B, Tq: T, Tk: T, H, Hk: H })).visibleShare;
  };
  expect(await visibleShare(false)).toBeGreaterThan(0.5);
  expect(await visibleShare(true)).toBeLessThan(0.15);
  cpu.dispose();
});

test("balanced buckets look at no later row", async () => {
  const x = normals([1, 60, 2, 16]);
  const all = await lsh(x, { buckets: 8, seed: 1, balanced: true }).read();
  const first = device.tensor((await x.read()).subarray(0, 40 * 32), [1, 40, 2, 16]);
  expect(await lsh(first, { buckets: 8, seed: 1, balanced: true }).read()).toEqual(all.subarray(0, 80));
});

test.each([
  [{ buckets: 7, seed: 1 }, "lsh: buckets is an even number from 2 to 256, got 7."],
  [{ buckets: 0, seed: 1 }, "lsh: buckets is an even number from 2 to 256, got 0."],
  [{ buckets: 258, seed: 1 }, "lsh: buckets is an even number from 2 to 256, got 258."],
  [{ buckets: 8, seed: 1, kvHeads: 4 }, "lsh: kvHeads divides the heads of x, got H=6, kvHeads=4."],
])("says in one sentence what is wrong: %j", (options, message) => {
  expect(() => lsh(normals([1, 2, 6, 16]), options)).toThrow(message);
});
