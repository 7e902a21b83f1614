import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lshRotations, normalAt } from "../../rng.ts";
import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { type CpuDevice, openCpuDevice } from "./index.ts";

/** Sizes that give every kernel more tasks than threads. */
const [B, T, H, D, C, O, V] = [2, 700, 4, 32, 128, 520, 300];
const N = B * T;

type Made = Record<string, Tensor<"i32"> | Tensor>;

/** Every op once, forward and backward, each from fixed inputs. */
function playAll(device: CpuDevice): Made {
  const { ops } = device;
  let stream = 0;
  const normal = (...shape: number[]): Tensor => {
    const size = shape.reduce((n, d) => n * d, 1);
    stream++;
    return device.tensor(
      Float32Array.from({ length: size }, (_, i) => normalAt(3, stream, i)),
      shape,
    );
  };
  const zeros = (...shape: number[]): Tensor => device.zeros(shape);
  const ints = (...shape: number[]) => device.zeros(shape, "i32");
  const tokens = device.tensor(
    Int32Array.from({ length: N }, (_, i) => (i * i) % V),
    [B, T],
  );
  const made = {
    ...{ embedded: zeros(B, T, C), dTokens: zeros(V, C), dPositions: zeros(T, C) },
    ...{ normed: zeros(N, C), mean: zeros(N), rstd: zeros(N), dx: zeros(N, C), dWeight: zeros(C), dBias: zeros(C) },
    ...{ pre: zeros(N, O), hidden: zeros(N, O), dHidden: zeros(N, O), dw: zeros(C, O), db: zeros(O) },
    ...{ unit: zeros(B, T, H, D), dUnit: zeros(B, T, H, D), turned: zeros(B, T, H, D), buckets: ints(B, T, H) },
    ...{ balanced: ints(B, T, H), moments: zeros(B, H, 4, 2) },
    ...{ kept: ints(B, T, H), qRows: ints(B, H, T), kRows: ints(B, H, T), lo: ints(B, H, T), hi: ints(B, H, T) },
    ...{ qLo: ints(B, H, T), qHi: ints(B, H, T), o: zeros(B, T, H, D), lse: zeros(B, H, T), delta: zeros(B, H, T) },
    ...{ dq: zeros(B, T, H, D), dk: zeros(B, T, H, D), dv: zeros(B, T, H, D) },
    ...{ logits: normal(N, V), losses: zeros(N), norm: zeros(1), param: normal(C, O), m: zeros(C, O), v: zeros(C, O) },
  };
  const dout = normal(N, C);
  ops.embed({ tokens, tokenTable: normal(V, C), positionTable: normal(T, C), firstPosition: 0, out: made.embedded });
  const bare = { tokens, dout: dout.view([B, T, C]), dTokenTable: made.dTokens, dPositionTable: made.dPositions };
  ops.embedBackward(bare);
  const [x, weight] = [made.embedded.view([N, C]), normal(C)];
  ops.layerNorm({ x, weight, bias: normal(C), epsilon: 1e-5, out: made.normed, mean: made.mean, rstd: made.rstd });
  const { mean, rstd, dx, dWeight, dBias } = made;
  ops.layerNormBackward({ x, weight, mean, rstd, dout, dx, dWeight, dBias });
  const w = normal(C, O);
  ops.linear({ x: made.normed, w, bias: normal(O), preGelu: made.pre, out: made.hidden });
  ops.linearBackwardInput({ dout: made.hidden, w, accumulate: true, dx });
  ops.linearBackwardInput({ dout, w: normal(O, C), preGelu: made.pre, dx: made.dHidden });
  ops.linearBackwardWeight({ x: made.normed, dout: made.dHidden, dw: made.dw, dBias: made.db });
  const heads = normal(B, T, H, D);
  ops.normalizeRows({ x: heads, epsilon: 1e-6, out: made.unit });
  ops.normalizeRowsBackward({ x: heads, epsilon: 1e-6, dout: made.unit, dx: made.dUnit });
  ops.rope({ x: heads, base: 1e4, firstPosition: 5, out: made.turned });
  const rotations = device.tensor(lshRotations({ seed: 1, H, D, buckets: 8 }), [H, D, 4]);
  ops.lshBuckets({ x: heads, rotations, out: made.buckets });
  ops.lshBuckets({ x: heads, rotations, moments: made.moments, out: made.balanced });
  ops.keepMask({ key: device.tensor(Int32Array.of(1, 2), [2]), keep: 0.4, out: made.kept });
  const groups = { documents: null, qGroups: made.buckets, kGroups: made.buckets, groupCount: 8 };
  const { qRows, kRows, lo, hi, qLo, qHi } = made;
  const staircase = { qRows, kRows, lo, hi, qLo, qHi };
  ops.staircase({ rule: { ...groups, near: 0, far: Infinity, chunk: Infinity }, out: staircase });
  const attention = { q: heads, k: made.unit, v: made.turned, staircase, scale: 0.2, lse: made.lse };
  ops.attentionForward({ ...attention, o: made.o });
  ops.attentionDelta({ o: made.o, dout: heads, delta: made.delta });
  const { delta, dq, dk, dv } = made;
  ops.attentionBackward({ ...attention, delta, dout: heads, dq, dk, dv });
  const gradScale = device.tensor(Float32Array.of(1 / N), [1]);
  ops.softmaxCrossEntropy({ logits: made.logits, targets: tokens.view([N]), losses: made.losses, gradScale });
  ops.gradNorm({ grad: made.dw, norm: made.norm });
  const control = device.tensor(Float32Array.of(1e-3, 0.1, 0.05, 1), [4]);
  const hyper = { maxNorm: 1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 };
  ops.adamw({ param: made.param, grad: made.dw, m: made.m, v: made.v, norm: made.norm, control, ...hyper });
  return made;
}

async function bitsOf(made: Made): Promise<Record<string, Int32Array>> {
  const bits: Record<string, Int32Array> = {};
  for (const [name, tensor] of Object.entries(made)) {
    const values = await tensor.read();
    bits[name] = new Int32Array(values.buffer, values.byteOffset, values.length);
  }
  return bits;
}

describe("all ops of the CPU device", () => {
  let one: CpuDevice;
  let expected: Record<string, Int32Array>;
  beforeAll(async () => {
    one = await openCpuDevice({ threads: 1 });
    expected = await bitsOf(playAll(one));
  });
  afterAll(() => one.dispose());

  it("leave something in every output", () => {
    const nothing = Object.entries(expected).filter(([, bits]) => bits.every((x) => x === 0));
    expect(nothing.map(([name]) => name)).toEqual([]);
  });

  it.each([1, 2, 5])("give the same bits with %d threads as with one", async (threads) => {
    const device = await openCpuDevice({ threads });
    const actual = await bitsOf(playAll(device));
    device.dispose();
    for (const name of Object.keys(expected)) {
      const differs = expected[name].findIndex((x, i) => x !== actual[name][i]);
      expect(differs, name).toBe(-1);
    }
  });

  it("balance rows that come a few at a time with the same bits as all at once", async () => {
    const x = one.tensor(
      Float32Array.from({ length: N * H * D }, (_, i) => 3 + normalAt(4, 0, i)),
      [B, T, H, D],
    );
    const rotations = one.tensor(lshRotations({ seed: 1, H, D, buckets: 10 }), [H, D, 5]);
    const hash = async (calls: readonly number[]) => {
      const moments = one.zeros([B, H, 5, 2]);
      const found: number[][] = Array.from({ length: B }, () => []);
      let firstPosition = 0;
      for (const rows of calls) {
        const out = one.zeros([B, rows, H], "i32");
        one.ops.lshBuckets({ x: x.slice(1, firstPosition, rows), rotations, moments, firstPosition, out });
        const buckets = await out.read();
        for (let b = 0; b < B; b++) found[b].push(...buckets.subarray(b * rows * H, (b + 1) * rows * H));
        firstPosition += rows;
      }
      return { found, moments: await moments.read() };
    };
    expect(await hash([37, 1, 1, 3, T - 42])).toEqual(await hash([T]));
  });

  it("take tensors of no rows", async () => {
    const { ops } = one;
    const none = (...shape: number[]): Tensor => one.zeros(shape);
    const calls: Partial<{ [K in keyof Ops]: Parameters<Ops[K]>[0] }> = {
      add: { x: none(0), y: none(0), out: none(0) },
      linear: { x: none(0, 4), w: none(4, 3), out: none(0, 3) },
      linearBackwardInput: { dout: none(0, 3), w: none(4, 3), dx: none(0, 4) },
      normalizeRows: { x: none(0, 2, 1, 4), epsilon: 1e-6, out: none(0, 2, 1, 4) },
      rope: { x: none(1, 0, 1, 4), base: 10, firstPosition: 0, out: none(1, 0, 1, 4) },
      softmaxCrossEntropy: { logits: none(0, 5), targets: one.zeros([0], "i32"), losses: none(0) },
    };
    for (const [name, args] of Object.entries(calls)) (ops[name as keyof Ops] as (args: unknown) => void)(args);
    const dw = one.tensor(Float32Array.of(1, 2, 3, 4), [2, 2]);
    ops.linearBackwardWeight({ x: none(0, 2), dout: none(0, 2), dw, dBias: none(2) });
    expect([...(await dw.read())]).toEqual([1, 2, 3, 4]);
    const norm = one.tensor(Float32Array.of(7), [1]);
    ops.gradNorm({ grad: none(0), norm });
    expect([...(await norm.read())]).toEqual([0]);
  });
});
