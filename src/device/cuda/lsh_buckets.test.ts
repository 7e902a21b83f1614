import { expect, test } from "vitest";
import { fakeTensor, h200, openFakeCuda } from "../../../test/fakeCuda.ts";
import { lshBuckets } from "./lsh_buckets.ts";

function hash({
  D,
  buckets,
  gap = 0,
  balanced = false,
  keyHeads,
}: {
  D: number;
  buckets: number;
  gap?: number;
  balanced?: boolean;
  keyHeads?: number;
}) {
  const cuda = openFakeCuda();
  const [B, T, H] = [2, 3000, 3];
  const width = H * D + gap;
  const x = fakeTensor(cuda.runtime, [B * T * width], "bf16").view([B, T, H, D], { strides: [T * width, width, D, 1] });
  const rotations = fakeTensor(cuda.runtime, [H, D, buckets / 2], "f32");
  const moments = balanced ? fakeTensor(cuda.runtime, [B, H, buckets / 2, 2], "f32") : null;
  const relativeTo = keyHeads ? fakeTensor(cuda.runtime, [B, T, keyHeads, D], "bf16") : null;
  lshBuckets(cuda.runtime, { x, rotations, moments, relativeTo, out: fakeTensor(cuda.runtime, [B, T, H], "i32") });
  return { ...cuda, entries: cuda.launches.map(({ entry }) => entry) };
}

test("a head dimension is padded to 32, and the rotations of 256 buckets lie in shared memory in three parts", () => {
  const { launches } = hash({ D: 40, buckets: 256 });
  expect(launches).toMatchObject([{ entry: "lsh_buckets", defines: { HEAD_DIM: 64, BUCKETS: 256 } }]);
  expect(launches[0]!.sharedBytes).toBeGreaterThanOrEqual(3 * 128 * 64 * 2);
});

test("rows that do not begin at 16 bytes are copied first", () => {
  expect(hash({ D: 64, buckets: 16, gap: 8 }).entries).toEqual(["lsh_buckets"]);
  expect(hash({ D: 64, buckets: 16, gap: 4 }).entries).toEqual(["copy", "lsh_buckets"]);
});

test("rows of an odd length are copied to longer ones that end in zeros", () => {
  const { entries, driver } = hash({ D: 17, buckets: 6 });
  expect(entries).toEqual(["copy", "lsh_buckets"]);
  expect(driver.calls("cuMemsetD16Async").map((args) => args.slice(1, 3))).toEqual([[0, 2 * 3000 * 3 * 24]]);
});

test("rotations that no block can hold are refused by name", () => {
  expect(() => hash({ D: 512, buckets: 256 })).toThrow(/^lshBuckets: rotations of a head fit/);
});

test("balanced, each block draws its chunk of rows, from signals that are zero", () => {
  const { launches, driver } = hash({ D: 64, buckets: 16, balanced: true });
  const blocks = Math.ceil(3000 / 1024) * 2 * 3;
  expect(launches).toMatchObject([{ entry: "lsh_buckets_balanced", grid: [blocks, 1, 1] }]);
  expect(driver.calls("cuMemsetD32Async").at(-1)!.slice(1, 3)).toEqual([0, 1 + blocks]);
});

test("relative to keys, two projections share the memory of one, over chunks of half as many rows", () => {
  const [own] = hash({ D: 64, buckets: 16, balanced: true }).launches;
  const [relative] = hash({ D: 64, buckets: 16, balanced: true, keyHeads: 1 }).launches;
  expect(relative).toMatchObject({
    entry: "lsh_buckets_balanced",
    defines: { RELATIVE: 1 },
    sharedBytes: own!.sharedBytes,
  });
  expect(relative!.grid).toEqual([Math.ceil(3000 / 512) * 2 * 3, 1, 1]);
  expect(hash({ D: 60, buckets: 16, balanced: true, keyHeads: 1 }).entries).toEqual([
    "copy",
    "copy",
    "lsh_buckets_balanced",
  ]);
});

test("balanced, all that a model may have fits into the shared memory of a data centre's GPU", () => {
  for (const D of [16, 64, 128, 256]) {
    for (const buckets of [2, 16, 48, 64, 80, 256]) {
      for (const keyHeads of [undefined, 3]) {
        const { sharedBytes } = hash({ D, buckets, balanced: true, ...(keyHeads && { keyHeads }) }).launches[0]!;
        expect(sharedBytes).toBeLessThanOrEqual(h200.sharedBytesPerBlock - 128);
      }
    }
  }
});
