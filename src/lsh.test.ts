import { expect, test } from "vitest";
import { openCpuDevice } from "./device/cpu/index.ts";
import { lsh } from "./lsh.ts";
import { pattern } from "./pattern/index.ts";
import { plan } from "./plan.ts";
import { openReferenceDevice } from "./reference/device.ts";
import { normalAt } from "./rng.ts";
import type { Tensor } from "./tensor.ts";

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

test("balanced relative to keys, queries that are keys fall into their buckets whatever all queries have in common", async () => {
  const cpu = await openCpuDevice({ threads: 1 });
  const [B, T, H, D] = [1, 400, 2, 16];
  const normal = (shift: number, stream: number) =>
    Float32Array.from({ length: T * H * D }, (_, n) => shift + normalAt(7, stream, n));
  const keys = normal(1, 0);
  // Half of the queries are their keys, the others lie elsewhere, and so does the mean of all.
  const queries = normal(-3, 1).map((value, n) => (Math.floor(n / (H * D)) % 2 === 0 ? keys[n]! : value));
  const [q, k] = [queries, keys].map((values) => cpu.tensor(values, [B, T, H, D])) as [Tensor, Tensor];
  const options = { buckets: 16, seed: 1, balanced: true };
  const kBuckets = await lsh(k, options).read();
  const sameShare = async (qBuckets: Tensor<"i32">) => {
    const found = await qBuckets.read();
    const alike = [...found.keys()].filter((n) => Math.floor(n / H) % 2 === 0);
    return alike.filter((n) => found[n] === kBuckets[n]).length / alike.length;
  };
  expect(await sameShare(lsh(q, { ...options, relativeTo: k }))).toBe(1);
  expect(await sameShare(lsh(q, options))).toBeLessThan(0.5);
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

test("says what is wrong with what buckets are to be balanced relative to", () => {
  const hash = (shape: number[], options = {}) =>
    lsh(normals([1, 2, 6, 16]), { buckets: 8, seed: 1, balanced: true, relativeTo: normals(shape), ...options });
  expect(() => hash([1, 2, 6, 16], { balanced: false })).toThrow(
    "lsh: relativeTo goes with balanced: true, got balanced: false.",
  );
  const rule =
    "lsh: relativeTo is [B, T, Hk, D] of x [1, 2, 6, 16], where Hk is kvHeads and divides the heads of x, got ";
  expect(() => hash([1, 3, 6, 16])).toThrow(`${rule}[1, 3, 6, 16].`);
  expect(() => hash([1, 2, 4, 16])).toThrow(`${rule}[1, 2, 4, 16].`);
  expect(() => hash([1, 2, 2, 16], { kvHeads: 3 })).toThrow(`${rule}[1, 2, 2, 16], kvHeads=3.`);
  expect(hash([1, 2, 2, 16]).shape).toEqual([1, 2, 6]);
});
