import { describe, expect, it } from "vitest";
import type { Device } from "../device/device.ts";
import { normalAt } from "../rng.ts";
import type { Staircase, StaircaseRule } from "../staircase/staircase.ts";
import type { Tensor } from "../tensor.ts";
import { openReferenceDevice, referenceValues, setReferenceValues } from "./device.ts";
import { decodeBits, roundTo } from "./memoryOps.ts";

const device = openReferenceDevice();
const { ops } = device;
let stream = 0;

function normal(...shape: number[]): Tensor {
  const size = shape.reduce((n, d) => n * d, 1);
  stream += 1;
  return device.tensor(
    Float32Array.from({ length: size }, (_, i) => normalAt(1, stream, i)),
    shape,
  );
}

const zeros = (...shape: number[]): Tensor => device.zeros(shape);
const ints = (values: number[], ...shape: number[]) => device.tensor(Int32Array.from(values), shape);
const read = async (t: Tensor<"i32"> | null) => [...((await t?.read()) ?? [])];

/**
 * Compares a gradient with central differences of f = sum(weights * out), where forward fills out from x.
 * Everything is in doubles: a step of 1e-5 leaves an error near 1e-10.
 */
function expectGradient(x: Tensor, gradient: Tensor, out: Tensor, weights: Tensor, forward: () => void): void {
  const values = referenceValues(x);
  const expected = referenceValues(gradient);
  const w = referenceValues(weights);
  const f = (): number => {
    forward();
    return referenceValues(out).reduce((total, value, i) => total + value * w[i], 0);
  };
  const step = 1e-5;
  for (let i = 0; i < values.length; i++) {
    const at = (value: number): number => {
      setReferenceValues(x, Object.assign(values.slice(), { [i]: value }));
      return f();
    };
    const slope = (at(values[i] + step) - at(values[i] - step)) / (2 * step);
    expect(Math.abs(slope - expected[i]), `gradient ${i}`).toBeLessThan(1e-7 * (1 + Math.abs(slope)));
  }
  setReferenceValues(x, values);
}

describe("gradients agree with finite differences", () => {
  it("layerNorm", () => {
    const [x, weight, bias, dout] = [normal(3, 7), normal(7), normal(7), normal(3, 7)];
    const [out, mean, rstd] = [zeros(3, 7), zeros(3), zeros(3)];
    const forward = () => ops.layerNorm({ x, weight, bias, epsilon: 1e-5, out, mean, rstd });
    forward();
    const [dx, dWeight, dBias] = [zeros(3, 7), zeros(7), zeros(7)];
    ops.layerNormBackward({ x, weight, mean, rstd, dout, dx, dWeight, dBias });
    expectGradient(x, dx, out, dout, forward);
    expectGradient(weight, dWeight, out, dout, forward);
    expectGradient(bias, dBias, out, dout, forward);
  });

  it("normalizeRows, also where rows are shorter than epsilon", () => {
    const [x, dout, out] = [normal(1, 3, 2, 5), normal(1, 3, 2, 5), zeros(1, 3, 2, 5)];
    for (const epsilon of [1e-6, 100]) {
      const dx = zeros(1, 3, 2, 5);
      ops.normalizeRowsBackward({ x, epsilon, dout, dx });
      expectGradient(x, dx, out, dout, () => ops.normalizeRows({ x, epsilon, out }));
    }
  });

  it.each([true, false])("linear, gelu into linear (transposed: %s)", (transposed) => {
    const [N, I, M, O] = [3, 4, 5, 2];
    const shape = (a: number, b: number): [number, number] => (transposed ? [b, a] : [a, b]);
    const [x, w1, b1] = [normal(N, I), normal(...shape(I, M)), normal(M)];
    const [w2, b2, residual, dout] = [normal(...shape(M, O)), normal(O), normal(N, O), normal(N, O)];
    const [preGelu, hidden, out] = [zeros(N, M), zeros(N, M), zeros(N, O)];
    const forward = () => {
      ops.linear({ x, w: w1, bias: b1, transposed, preGelu, out: hidden });
      ops.linear({ x: hidden, w: w2, bias: b2, residual, transposed, out });
    };
    forward();
    const [dHidden, dx] = [zeros(N, M), zeros(N, I)];
    const [dw1, dw2, db1, db2] = [zeros(...w1.shape), zeros(...w2.shape), zeros(M), zeros(O)];
    ops.linearBackwardInput({ dout, w: w2, transposed, preGelu, dx: dHidden });
    ops.linearBackwardWeight({ x: hidden, dout, transposed, dw: dw2, dBias: db2 });
    ops.linearBackwardInput({ dout: dHidden, w: w1, transposed, accumulate: true, dx });
    ops.linearBackwardWeight({ x, dout: dHidden, transposed, dw: dw1, dBias: db1 });
    expectGradient(x, dx, out, dout, forward);
    expectGradient(w1, dw1, out, dout, forward);
    expectGradient(b1, db1, out, dout, forward);
    expectGradient(w2, dw2, out, dout, forward);
    expectGradient(b2, db2, out, dout, forward);
  });

  it("embed", () => {
    const tokens = ints([3, 0, 3, 1], 2, 2);
    const [tokenTable, positionTable, dout, out] = [normal(4, 3), normal(2, 3), normal(2, 2, 3), zeros(2, 2, 3)];
    const [dTokenTable, dPositionTable] = [zeros(4, 3), zeros(2, 3)];
    const forward = () => ops.embed({ tokens, tokenTable, positionTable, firstPosition: 0, out });
    ops.embedBackward({ tokens, dout, dTokenTable, dPositionTable });
    expectGradient(tokenTable, dTokenTable, out, dout, forward);
    expectGradient(positionTable, dPositionTable, out, dout, forward);
  });

  it("rope, whose backward is the inverse turn", () => {
    const [x, dout, out, dx] = [normal(1, 3, 2, 4), normal(1, 3, 2, 4), zeros(1, 3, 2, 4), zeros(1, 3, 2, 4)];
    ops.rope({ x: dout, base: 100, firstPosition: 2, inverse: true, out: dx });
    expectGradient(x, dx, out, dout, () => ops.rope({ x, base: 100, firstPosition: 2, out }));
  });

  it("softmaxCrossEntropy", () => {
    const [logits, targets, losses] = [normal(3, 5), ints([2, -1, 4], 3), zeros(3)];
    const values = referenceValues(logits);
    const gradScale = 0.25;
    ops.softmaxCrossEntropy({ logits, targets, losses, gradScale: device.tensor(Float32Array.of(gradScale), [1]) });
    const gradient = zeros(3, 5);
    setReferenceValues(gradient, referenceValues(logits));
    setReferenceValues(logits, values);
    const weights = device.tensor(new Float32Array(3).fill(gradScale), [3]);
    expectGradient(logits, gradient, losses, weights, () => ops.softmaxCrossEntropy({ logits, targets, losses }));
  });

  it("attention over a union of two hash staircases, with shared key heads", () => {
    const [B, Tq, Tk, H, Hk, D] = [1, 5, 6, 4, 2, 16];
    const [q, k, v, dout] = [normal(B, Tq, H, D), normal(B, Tk, Hk, D), normal(B, Tk, Hk, D), normal(B, Tq, H, D)];
    const rule = (near: number, far: number): StaircaseRule => ({
      documents: null,
      qGroups: ints(
        Array.from({ length: Tq * H }, (_, i) => (i * 7) % 3),
        B,
        Tq,
        H,
      ),
      kGroups: ints(
        Array.from({ length: Tk * Hk }, (_, i) => (i * 5) % 3),
        B,
        Tk,
        Hk,
      ),
      groupCount: 2,
      near,
      far,
      chunk: Infinity,
    });
    const parts = [rule(0, 1), rule(2, Infinity)].map((r) => build(device, r, { B, Tq, Tk, H, Hk }));
    const [o, lse, delta] = [zeros(B, Tq, H, D), zeros(B, H, Tq), zeros(B, H, Tq)];
    const scale = 0.3;
    const forward = () => {
      parts.forEach((staircase, n) => {
        ops.attentionForward({ q, k, v, staircase, scale, merge: n > 0, o, lse });
      });
    };
    forward();
    ops.attentionDelta({ o, dout, delta });
    const [dq, dk, dv] = [zeros(...q.shape), zeros(...k.shape), zeros(...v.shape)];
    parts.forEach((staircase, n) => {
      const accumulate = { accumulateQ: n > 0, accumulateKV: n > 0 };
      ops.attentionBackward({ q, k, v, staircase, scale, lse, delta, dout, ...accumulate, dq, dk, dv });
    });
    expectGradient(q, dq, o, dout, forward);
    expectGradient(k, dk, o, dout, forward);
    expectGradient(v, dv, o, dout, forward);
  });
});

interface Sizes {
  B: number;
  Tq: number;
  Tk: number;
  H: number;
  Hk: number;
}

function build(on: Device, rule: StaircaseRule, { B, Tq, Tk, H, Hk }: Sizes): Staircase {
  const empty = (...shape: number[]) => on.empty(shape, "i32");
  const out: Staircase = {
    qRows: empty(B, H, Tq),
    kRows: empty(B, Hk, Tk),
    lo: empty(B, H, Tq),
    hi: empty(B, H, Tq),
    qLo: empty(B, H, Tk),
    qHi: empty(B, H, Tk),
  };
  on.ops.staircase({ rule, out });
  return out;
}

describe("staircase", () => {
  const one = { B: 1, H: 1, Hk: 1 };
  const plain = {
    documents: null,
    qGroups: null,
    kGroups: null,
    groupCount: 1,
    near: 0,
    far: Infinity,
    chunk: Infinity,
  };

  it("sorts three buckets as the picture in ARCHITECTURE.md shows", async () => {
    const groups = ints([0, 1, 2, 0, 1, 2, 0, 1], 1, 8, 1);
    const built = build(
      device,
      { ...plain, qGroups: groups, kGroups: groups, groupCount: 3 },
      { ...one, Tq: 8, Tk: 8 },
    );
    expect(await read(built.qRows)).toEqual([0, 3, 6, 1, 4, 7, 2, 5]);
    expect(await read(built.kRows)).toEqual([0, 3, 6, 1, 4, 7, 2, 5]);
    expect(await read(built.lo)).toEqual([0, 0, 0, 3, 3, 3, 6, 6]);
    expect(await read(built.hi)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(await read(built.qLo)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(await read(built.qHi)).toEqual([3, 3, 3, 6, 6, 6, 8, 8]);
  });

  it("aligns a shorter run of queries with the end of the keys, and keeps a window", async () => {
    const built = build(device, { ...plain, far: 1 }, { ...one, Tq: 3, Tk: 5 });
    expect(await read(built.lo)).toEqual([1, 2, 3]);
    expect(await read(built.hi)).toEqual([3, 4, 5]);
    expect(await read(built.qLo)).toEqual([0, 0, 0, 1, 2]);
    expect(await read(built.qHi)).toEqual([0, 1, 2, 3, 3]);
  });

  it("puts rows that take no part last, where nothing is seen", async () => {
    const qGroups = ints([1, 0, 1, 1], 1, 4, 1);
    const kGroups = ints([0, 1, 1, 0], 1, 4, 1);
    const built = build(device, { ...plain, keepMasks: true, qGroups, kGroups }, { ...one, Tq: 4, Tk: 4 });
    expect(await read(built.qRows)).toEqual([0, 2, 3, 1]);
    expect(await read(built.kRows)).toEqual([1, 2, 0, 3]);
    expect(await read(built.lo)).toEqual([0, 0, 0, 2]);
    expect(await read(built.hi)).toEqual([0, 2, 2, 2]);
    expect(await read(built.qHi)).toEqual([3, 3, 4, 4]);
    expect(await read(built.qLo)).toEqual([1, 1, 4, 4]);
  });

  it("ends at documents, which are runs of equal ids", async () => {
    const documents = ints([4, 4, 9, 4, 4], 1, 5);
    const built = build(device, { ...plain, documents, near: 1 }, { ...one, Tq: 5, Tk: 5 });
    expect(await read(built.lo)).toEqual([0, 0, 2, 3, 3]);
    expect(await read(built.hi)).toEqual([0, 1, 2, 3, 4]);
  });

  it("cuts chunks: nothing is seen before the chunk that precedes the last key's", async () => {
    const built = build(device, { ...plain, chunk: 2 }, { ...one, Tq: 7, Tk: 7 });
    expect(await read(built.lo)).toEqual([0, 0, 0, 0, 2, 2, 4]);
    expect(await read(built.hi)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });
});

describe("what is easily got wrong", () => {
  it("a query that sees no key gives o = 0 and lse = -Infinity, also when merged", async () => {
    const [B, Tq, Tk, H, Hk, D] = [1, 3, 1, 1, 1, 16];
    const rule = {
      documents: null,
      qGroups: null,
      kGroups: null,
      groupCount: 1,
      near: 0,
      far: Infinity,
      chunk: Infinity,
    };
    const staircase = build(device, rule, { B, Tq, Tk, H, Hk });
    const [o, lse] = [device.empty([B, Tq, H, D]), device.empty([B, H, Tq])];
    const call = {
      q: normal(B, Tq, H, D),
      k: normal(B, Tk, Hk, D),
      v: normal(B, Tk, Hk, D),
      staircase,
      scale: 1,
      o,
      lse,
    };
    ops.attentionForward(call);
    ops.attentionForward({ ...call, merge: true });
    expect([...(await lse.read()).subarray(0, 2)]).toEqual([-Infinity, -Infinity]);
    expect([...(await o.read()).subarray(0, 2 * D)]).toEqual(new Array(2 * D).fill(0));
  });

  it("bad tokens and bad targets give NaN, a target of -1 gives nothing", async () => {
    const out = device.empty([1, 2, 2]);
    ops.embed({ tokens: ints([1, 5], 1, 2), tokenTable: normal(5, 2), positionTable: null, firstPosition: 0, out });
    expect(Array.from(await out.read(), Number.isNaN)).toEqual([false, false, true, true]);
    const [logits, losses, gradScale] = [normal(3, 2), device.empty([3]), device.tensor(Float32Array.of(1), [1])];
    ops.softmaxCrossEntropy({ logits, targets: ints([-1, -2, 2], 3), losses, gradScale });
    expect([...(await losses.read())]).toEqual([0, Number.NaN, Number.NaN]);
    expect([...(await logits.read())]).toEqual([0, 0, Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
  });

  it("hashes to the lowest bucket on a tie", async () => {
    const out = device.empty([1, 2, 1], "i32");
    const x = device.tensor(Float32Array.from([0, 0, -1, 0]), [1, 2, 1, 2]);
    ops.lshBuckets({ x, rotations: device.tensor(Float32Array.from([1, 1, 0, 0]), [1, 2, 2]), out });
    expect(await read(out)).toEqual([0, 2]);
  });

  it("adamw takes the first step of size lr, clips, decays, and leaves everything when the norm is not finite", async () => {
    const [param, grad, m, v, norm] = [normal(3), normal(3), zeros(3), zeros(3), zeros(1)];
    const before = referenceValues(param);
    const control = device.tensor(Float32Array.from([0.5, 0.25, 0.125, 1]), [4]);
    const options = { maxNorm: 1e-3, beta1: 0.75, beta2: 0.875, epsilon: 0, weightDecay: 0.5 };
    setReferenceValues(norm, [Number.NaN]);
    ops.adamw({ param, grad, m, v, norm, control, ...options });
    expect(referenceValues(param)).toEqual(before);
    ops.gradNorm({ grad, norm });
    ops.adamw({ param, grad, m, v, norm, control, ...options });
    const signs = referenceValues(grad).map(Math.sign);
    referenceValues(param).forEach((p, i) => {
      expect(p).toBeCloseTo(before[i] * (1 - 0.5 * 0.5) - 0.5 * signs[i], 12);
    });
    const clipped = Math.hypot(...referenceValues(m)) / 0.25;
    expect(clipped).toBeCloseTo(1e-3, 12);
  });

  it("rounds to the nearest f16 and bf16, even on a tie", () => {
    expect(roundTo(1 + 2 ** -11, "f16")).toBe(1);
    expect(roundTo(1 + 3 * 2 ** -11, "f16")).toBe(1 + 2 ** -9);
    expect(roundTo(65519, "f16")).toBe(65504);
    expect(roundTo(65520, "f16")).toBe(Infinity);
    expect(roundTo(2 ** -25, "f16")).toBe(0);
    expect(roundTo(-3 * 2 ** -25, "f16")).toBe(-(2 ** -23));
    expect(roundTo(1 + 2 ** -8, "bf16")).toBe(1);
    expect(decodeBits(0xfbff, "f16")).toBe(-65504);
    expect(decodeBits(0x0001, "f16")).toBe(2 ** -24);
    expect(decodeBits(0x3f80, "bf16")).toBe(1);
    for (const value of [0.1, -3.7, 1e30, 1.5e-40, 2 ** -149]) {
      expect(roundTo(value, "f32")).toBe(Math.fround(value));
    }
  });

  it("memory is NaN until it is set, and strided views read in row-major order", async () => {
    expect([...(await device.empty([2]).read())]).toEqual([Number.NaN, Number.NaN]);
    const t = device.tensor(
      Float32Array.from({ length: 12 }, (_, i) => i),
      [3, 4],
    );
    expect([...(await t.slice(1, 1, 2).read())]).toEqual([1, 2, 5, 6, 9, 10]);
    expect(device.memory.peakBytes).toBeGreaterThan(0);
  });
});
