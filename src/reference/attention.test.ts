import { expect, test } from "vitest";
import { pattern } from "../pattern/index.ts";
import { normalAt } from "../rng.ts";
import { attentionBackward, attentionForward, type ReferenceAttention } from "./attention.ts";
import { precisionOf } from "./precision.ts";

const shape = { B: 2, Tq: 5, Tk: 7, H: 4, Hk: 2, D: 3 };

function normals(length: number, stream: number): Float64Array {
  return Float64Array.from({ length }, (_, n) => normalAt(1, stream, n));
}

/** Dense but for query 2, which sees nothing, and key 3, which nobody sees. */
async function call(): Promise<ReferenceAttention> {
  const { B, Tq, Tk, H, Hk, D } = shape;
  const causal = await pattern.dense().mask(shape);
  return {
    shape,
    q: normals(B * Tq * H * D, 1),
    k: normals(B * Tk * Hk * D, 2),
    v: normals(B * Tk * Hk * D, 3),
    mask: (b, h, i, j) => i !== 2 && j !== 3 && causal(b, h, i, j),
  };
}

test("gradients agree with finite differences, with grouped heads, empty rows and unseen keys", async () => {
  const attention = await call();
  const { o } = attentionForward(attention);
  const dout = normals(o.length, 4);
  const gradients = attentionBackward(attention, { o, dout });
  const loss = (changed: Partial<ReferenceAttention>) =>
    attentionForward({ ...attention, ...changed }).o.reduce((sum, x, n) => sum + x * dout[n], 0);
  for (const name of ["q", "k", "v"] as const) {
    const gradient = gradients[`d${name}`];
    for (const [n, x] of Array.from(attention[name]).entries()) {
      const step = 1e-5;
      const at = (value: number) => ({ [name]: Float64Array.from(attention[name]).fill(value, n, n + 1) });
      const difference = (loss(at(x + step)) - loss(at(x - step))) / (2 * step);
      // Central differences leave step^2 times the third derivative, and the rounding of the loss over the step.
      expect(Math.abs(gradient[n] - difference), `d${name}[${n}]`).toBeLessThan(1e-8);
    }
  }
});

test("a row with no visible key gives o = 0 and lse = -Infinity, and contributes no gradient", async () => {
  const attention = await call();
  const { o, lse } = attentionForward(attention);
  const { B, Tq, Tk, H, Hk, D } = shape;
  const { dq, dk, dv } = attentionBackward(attention, { o, dout: new Float64Array(o.length).fill(1) });
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      expect(lse[(b * H + h) * Tq + 2]).toBe(-Infinity);
      const row = ((b * Tq + 2) * H + h) * D;
      for (const x of [o, dq]) expect(Array.from(x.subarray(row, row + D), Math.abs)).toEqual([0, 0, 0]);
    }
    for (let h = 0; h < Hk; h++) {
      const row = ((b * Tk + 3) * Hk + h) * D;
      for (const x of [dk, dv]) expect(Array.from(x.subarray(row, row + D), Math.abs)).toEqual([0, 0, 0]);
    }
  }
  expect(dv.some((x) => x !== 0)).toBe(true);
});

test("one visible key gives its value and its score", () => {
  const one = { B: 1, Tq: 1, Tk: 1, H: 1, Hk: 1, D: 2 };
  const { o, lse } = attentionForward({ shape: one, q: [1, 2], k: [3, 4], v: [5, 6], scale: 0.5, mask: () => true });
  expect(Array.from(o)).toEqual([5, 6]);
  expect(lse[0]).toBe(5.5);
});

test.each([
  ["f32", 2 ** -24],
  ["f16", 2 ** -11],
  ["bf16", 2 ** -8],
] as const)("in %s, straightforward attention is off by some units of its last place", async (type, unit) => {
  const attention = await call();
  const exact = attentionForward(attention).o;
  const rounded = attentionForward({ ...attention, precision: precisionOf[type] }).o;
  const error = exact.reduce((most, x, n) => Math.max(most, Math.abs(x - rounded[n])), 0);
  expect(error).toBeGreaterThan(unit / 16);
  expect(error).toBeLessThan(unit * 16);
});
