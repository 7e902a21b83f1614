import { expect, test } from "vitest";
import { attention, PreparedAttention } from "./attention.ts";
import { pattern } from "./pattern/index.ts";
import type { Pattern } from "./pattern/pattern.ts";
import { attentionBackward, attentionForward } from "./reference/attention.ts";
import { openReferenceDevice } from "./reference/device.ts";
import { normalAt, uniformAt } from "./rng.ts";
import type { Tensor } from "./tensor.ts";

const device = openReferenceDevice();
const [B, T, H, Hk, D] = [2, 9, 6, 2, 16];
const shape = { B, Tq: T, Tk: T, H, Hk };

function normals(sizes: number[], stream: number): Tensor {
  const length = sizes.reduce((n, d) => n * d, 1);
  return device.tensor(
    Float32Array.from({ length }, (_, n) => normalAt(2, stream, n)),
    sizes,
  );
}

function wholes(sizes: number[], stream: number, below: number): Tensor<"i32"> {
  const length = sizes.reduce((n, d) => n * d, 1);
  return device.tensor(
    Int32Array.from({ length }, (_, n) => Math.floor(uniformAt(2, stream, n) * below)),
    sizes,
  );
}

const [q, k, v, dout] = [
  normals([B, T, H, D], 1),
  normals([B, T, Hk, D], 2),
  normals([B, T, Hk, D], 3),
  normals([B, T, H, D], 4),
];

async function expected(made: Pattern) {
  const call = {
    shape: { ...shape, D },
    ...{ q: await q.read(), k: await k.read(), v: await v.read() },
    mask: await made.mask(shape),
  };
  const forward = attentionForward(call);
  return { ...forward, ...attentionBackward(call, { o: forward.o, dout: await dout.read() }) };
}

async function expectClose(got: Record<string, Tensor>, want: Record<string, Float64Array>) {
  for (const name of Object.keys(want)) {
    const values = await got[name].read();
    expect(values).toHaveLength(want[name].length);
    const largest = want[name].reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0);
    for (const [n, x] of values.entries()) {
      if (x !== want[name][n]) expect(Math.abs(x - want[name][n]), `${name}[${n}]`).toBeLessThan(1e-6 * largest);
    }
  }
}

const hash = (heads: number, keyHeads: number, more = {}) =>
  pattern.hash({
    qBuckets: wholes([B, T, heads], 5, 3),
    kBuckets: wholes([B, T, keyHeads], 6, 3),
    buckets: 3,
    ...more,
  });

test.each<[string, Pattern]>([
  ["dense", pattern.dense()],
  ["hash without the diagonal", hash(H, Hk, { diagonal: false })],
  ["a union", pattern.union(pattern.window(2), hash(H, Hk, { beyond: 2 }))],
  [
    "groups of heads cut through shared key heads",
    pattern.heads([
      [1, pattern.window(3)],
      [4, hash(4, 2)],
      [1, pattern.dense()],
    ]),
  ],
  [
    "unions within groups",
    pattern.heads([
      [2, pattern.union(pattern.window(2), hash(2, 1, { beyond: 2 }))],
      [4, pattern.dense()],
    ]),
  ],
])("attention and its gradients, over %s, are the reference's", async (_, made) => {
  const result = attention(q, k, v, { pattern: made });
  const { o, lse } = result;
  await expectClose({ o, lse, ...result.backward(dout) }, await expected(made));
  result.dispose();
});

test("scale is what scores are multiplied by", async () => {
  const { o } = attention(q, k, v, { pattern: pattern.dense(), scale: 0 });
  const firstTwo = (await v.read()).slice(0, 2 * Hk * D);
  // With all scores zero, the second query averages two values.
  const got = (await o.read()).slice(H * D, H * D + 1)[0];
  expect(got).toBeCloseTo((firstTwo[0] + firstTwo[Hk * D]) / 2, 6);
});

test("prepared attention allocates nothing in a step, and follows its buckets when built again", async () => {
  const [qBuckets, kBuckets] = [wholes([B, T, H], 7, 3), wholes([B, T, Hk], 8, 3)];
  const made = pattern.union(pattern.window(2), pattern.hash({ qBuckets, kBuckets, buckets: 3, beyond: 2 }));
  const before = device.memory.bytes;
  const prepared = new PreparedAttention(device, { shape, pattern: made, scale: 1 / Math.sqrt(D) });
  const out = {
    o: normals([B, T, H, D], 9),
    lse: normals([B, H, T], 9),
    dq: normals([B, T, H, D], 9),
    dk: normals([B, T, Hk, D], 9),
    dv: normals([B, T, Hk, D], 9),
  };
  const step = () => {
    prepared.build();
    prepared.forward({ q, k, v, ...out });
    prepared.backward({ q, k, v, dout, ...out });
  };
  step();
  await expectClose(out, await expected(made));
  const inUse = device.memory.bytes;
  qBuckets.write(await wholes([B, T, H], 10, 3).read());
  kBuckets.write(await wholes([B, T, Hk], 11, 3).read());
  const afterWriting = device.memory.bytes;
  step();
  expect(device.memory.bytes).toBe(afterWriting);
  await expectClose(out, await expected(made));
  prepared.dispose();
  expect(inUse).toBeGreaterThan(before);
  for (const tensor of Object.values(out)) tensor.dispose();
  expect(() => prepared.forward({ q, k, v, ...out })).toThrow("attention: the staircase is still held");
});

test("everything that attention makes can be given back", () => {
  const made = hash(H, Hk);
  const before = device.memory.bytes;
  const result = attention(q, k, v, { pattern: made });
  for (const tensor of Object.values(result.backward(dout))) tensor.dispose();
  result.dispose();
  result.o.dispose();
  result.lse.dispose();
  expect(device.memory.bytes).toBe(before);
  const once = attention(q, k, v, { pattern: made, gradients: false });
  expect(() => once.backward(dout)).toThrow("attention: the staircase is still held, got one given back.");
  once.o.dispose();
  once.lse.dispose();
  expect(device.memory.bytes).toBe(before);
});

const empty = (...sizes: number[]) => device.empty(sizes);
const elsewhere = openReferenceDevice({ precision: "f32" });
test.each<[string, [Tensor, Tensor, Tensor], string]>([
  [
    "H not a multiple of Hk",
    [empty(1, 2, 6, 16), empty(1, 2, 4, 16), empty(1, 2, 4, 16)],
    "attention: H must be a multiple of Hk, got H=6, Hk=4.",
  ],
  ["no batch dimension", [empty(2, 6, 16), k, v], "attention: q is [B, T, heads, D], got [2, 6, 16]."],
  ["another batch size", [empty(1, T, H, D), k, v], "attention: q and k have one batch size B, got 1 and 2."],
  ["another D", [empty(B, T, H, 24), k, v], "attention: q and k have one head dimension D, got 24 and 16."],
  ["v unlike k", [q, k, empty(B, T, 1, D)], "attention: v must be [2, 9, 2, 16], got [2, 9, 1, 16]."],
  [
    "D of 20",
    [empty(1, 2, 1, 20), empty(1, 2, 1, 20), empty(1, 2, 1, 20)],
    "attention: the head dimension D is 16 to 256 in steps of 8, got 20.",
  ],
  [
    "D of 264",
    [empty(1, 2, 1, 264), empty(1, 2, 1, 264), empty(1, 2, 1, 264)],
    "attention: the head dimension D is 16 to 256 in steps of 8, got 264.",
  ],
  ["buckets for q", [wholes([B, T, H, D], 1, 3) as never, k, v], "attention: q has a float type, got i32."],
  [
    "another dtype",
    [device.empty([B, T, H, D], "bf16") as Tensor, k, v],
    "attention: q, k and v have one dtype, got bf16 and f32.",
  ],
  ["another device", [q, k, elsewhere.empty([B, T, Hk, D])], "attention: v must be on one device with q, got"],
])("says in one sentence what is wrong: %s", (_, [q, k, v], message) => {
  expect(() => attention(q, k, v, { pattern: pattern.dense() })).toThrow(message);
});

test("a gradient of the wrong shape and buckets on another device are refused", () => {
  const { backward } = attention(q, k, v, { pattern: pattern.dense() });
  expect(() => backward(k)).toThrow("attention: dout must be [2, 9, 6, 16], got [2, 9, 2, 16].");
  const ids = elsewhere.tensor(new Int32Array(B * T), [B, T]);
  expect(() => attention(q, k, v, { pattern: pattern.documents(ids) })).toThrow(
    "attention: the pattern's tensors must be on one device with q",
  );
});
