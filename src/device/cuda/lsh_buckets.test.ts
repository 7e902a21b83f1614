import { expect, test } from "vitest";
import { fakeTensor, openFakeCuda } from "../../../test/fakeCuda.ts";
import { lshBuckets } from "./lsh_buckets.ts";

function hash({ D, buckets, gap = 0 }: { D: number; buckets: number; gap?: number }) {
  const cuda = openFakeCuda();
  const [B, T, H] = [2, 3000, 3];
  const width = H * D + gap;
  const x = fakeTensor(cuda.runtime, [B * T * width], "bf16").view([B, T, H, D], { strides: [T * width, width, D, 1] });
  const rotations = fakeTensor(cuda.runtime, [H, D, buckets / 2], "f32");
  lshBuckets(cuda.runtime, { x, rotations, out: fakeTensor(cuda.runtime, [B, T, H], "i32") });
  return { ...cuda, entries: cuda.launches.map(({ entry }) => entry) };
}

test("a head dimension is padded to 16, and the rotations of 256 buckets lie in shared memory in three parts", () => {
  const { launches } = hash({ D: 40, buckets: 256 });
  expect(launches).toMatchObject([{ entry: "lsh_buckets", defines: { HEAD_DIM: 48, BUCKETS: 256 } }]);
  expect(launches[0]!.sharedBytes).toBeGreaterThanOrEqual(3 * 128 * (48 + 4) * 2);
});

test("rows that do not begin at 8 bytes are copied first", () => {
  expect(hash({ D: 64, buckets: 16, gap: 4 }).entries).toEqual(["lsh_buckets"]);
  expect(hash({ D: 64, buckets: 16, gap: 2 }).entries).toEqual(["copy", "lsh_buckets"]);
});

test("rows of an odd length are copied to longer ones that end in zeros", () => {
  const { entries, driver } = hash({ D: 17, buckets: 6 });
  expect(entries).toEqual(["copy", "lsh_buckets"]);
  expect(driver.calls("cuMemsetD16Async").map((args) => args.slice(1, 3))).toEqual([[0, 2 * 3000 * 3 * 20]]);
});

test("rotations that no block can hold are refused by name", () => {
  expect(() => hash({ D: 512, buckets: 256 })).toThrow(/^lshBuckets: rotations of a head fit/);
});
