import { expect, test } from "vitest";
import { plan } from "../plan.ts";
import { openReferenceDevice } from "../reference/device.ts";
import { pattern } from "./index.ts";
import type { Pattern } from "./pattern.ts";

const device = openReferenceDevice();
const shape = { B: 2, Tq: 6, Tk: 6, H: 4, Hk: 2 };
const zeros = (...sizes: number[]) => device.tensor(new Int32Array(sizes.reduce((n, d) => n * d, 1)), sizes);
const hash = (q: number[], k: number[], more = {}) =>
  pattern.hash({ qBuckets: zeros(...q), kBuckets: zeros(...k), ...more });

const faults: [name: string, make: () => Pattern, message: string][] = [
  [
    "a window of 0",
    () => pattern.window(0),
    "pattern.window: size is a whole number of at least 1, got 0. A window of 1 sees the query's own position.",
  ],
  ["a window of 1.5", () => pattern.window(1.5), "pattern.window: size is a whole number of at least 1, got 1.5."],
  [
    "document ids of the wrong length",
    () => pattern.documents(zeros(2, 5)),
    "pattern.documents: documents must be [B, Tk] = [2, 6], got [2, 5].",
  ],
  [
    "document ids that are floats",
    () => pattern.documents(device.tensor(new Float32Array(12), [2, 6]) as never),
    "pattern.documents: ids is an i32 tensor, got f32.",
  ],
  [
    "a keep mask with key heads for query heads",
    () => pattern.drop({ qKeep: zeros(2, 6, 2), kKeep: null }),
    "pattern.drop: qKeep must be [B, Tq, H] = [2, 6, 4], got [2, 6, 2].",
  ],
  [
    "key buckets with query heads",
    () => hash([2, 6, 4], [2, 6, 4]),
    "pattern.hash: kBuckets must be [B, Tk, Hk] = [2, 6, 2], got [2, 6, 4].",
  ],
  [
    "no buckets at all",
    () => pattern.hash({ qBuckets: zeros(2, 6, 4) } as never),
    "pattern.hash: kBuckets is an i32 tensor, got undefined.",
  ],
  [
    "257 buckets",
    () => hash([2, 6, 4], [2, 6, 2], { buckets: 257 }),
    "pattern.hash: buckets is a whole number from 1 to 256, got 257.",
  ],
  [
    "beyond 0",
    () => hash([2, 6, 4], [2, 6, 2], { beyond: 0 }),
    "pattern.hash: beyond is a whole number of at least 1, got 0. Leave it out to see every distance.",
  ],
  [
    "chunks of 0",
    () => pattern.chunkedHash({ qBuckets: zeros(2, 6, 4), kBuckets: zeros(2, 6, 2), chunk: 0 }),
    "pattern.chunkedHash: chunk is a whole number of at least 1, got 0.",
  ],
  [
    "a shard that does not exist",
    () => pattern.strided({ shards: 2, qShard: 0, kShard: 2 }),
    "pattern.strided: kShard is a whole number from 0 to 1, got 2.",
  ],
  [
    "stripes of the wrong shape",
    () => pattern.stripes({ kKeep: zeros(6, 2) }),
    "pattern.stripes: kKeep must be [B, Tk, Hk] = [2, 6, 2], got [6, 2].",
  ],
  ["a union of nothing", () => pattern.union(), "pattern.union: a union has at least one pattern, got none."],
  [
    "groups that do not sum to H",
    () =>
      pattern.heads([
        [1, pattern.dense()],
        [2, pattern.window(3)],
      ]),
    "pattern.heads: the groups' heads sum to the H = 4 heads of q, got 1 + 2 = 3.",
  ],
  [
    "a group of no heads",
    () => pattern.heads([[0, pattern.dense()]]),
    "pattern.heads: the number of heads of dense is a whole number of at least 1, got 0.",
  ],
  [
    "a group's buckets with the heads of the whole call",
    () =>
      pattern.heads([
        [2, pattern.dense()],
        [2, hash([2, 6, 4], [2, 6, 2])],
      ]),
    "pattern.hash: qBuckets must be [B, Tq, H] = [2, 6, 2], got [2, 6, 4].",
  ],
  [
    "three staircases for four heads",
    () => pattern.staircase(Array.from({ length: 3 }, () => ({ lo: new Int32Array(6), hi: new Int32Array(6) }))),
    "pattern.staircase: there is one staircase for all, one for each of the 4 heads, or one for each (b, head), got 3.",
  ],
];

test.each(faults)("says in one sentence what is wrong: %s", async (_, make, message) => {
  await expect(async () => plan(make(), shape)).rejects.toThrow(message);
});
