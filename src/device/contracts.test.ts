import { describe, expect, it } from "vitest";
import { DTypeError, ShapeError, UnsupportedError } from "../errors.ts";
import { openReferenceDevice } from "../reference/device.ts";
import type { StaircaseRule } from "../staircase/staircase.ts";
import type { DType, Tensor } from "../tensor.ts";

const device = openReferenceDevice();
const { ops } = device;
const f = (...shape: number[]): Tensor => device.zeros(shape);
const i = (...shape: number[]): Tensor<"i32"> => device.zeros(shape, "i32");

const [B, Tq, Tk, H, Hk, D] = [2, 3, 5, 4, 2, 16];
const rule: StaircaseRule = {
  documents: null,
  qGroups: null,
  kGroups: null,
  groupCount: 1,
  near: 0,
  far: Infinity,
  chunk: Infinity,
};
const groups = { qGroups: i(B, Tq, H), kGroups: i(B, Tk, Hk) };
const staircase = {
  qRows: i(B, H, Tq),
  kRows: i(B, Hk, Tk),
  lo: i(B, H, Tq),
  hi: i(B, H, Tq),
  qLo: i(B, H, Tk),
  qHi: i(B, H, Tk),
};
const attention = {
  q: f(B, Tq, H, D),
  k: f(B, Tk, Hk, D),
  v: f(B, Tk, Hk, D),
  staircase,
  scale: 1,
  o: f(B, Tq, H, D),
  lse: f(B, H, Tq),
};
const staircaseCall = { rule: { ...rule, ...groups }, out: staircase };
const linear = { x: f(3, 4), w: f(4, 5), out: f(3, 5) };
const embed = { tokens: i(2, 3), tokenTable: f(7, 4), positionTable: f(5, 4), firstPosition: 2, out: f(2, 3, 4) };
const norm = { x: f(3, 4), weight: f(4), bias: null, epsilon: 1e-5, out: f(3, 4), mean: f(3), rstd: f(3) };

function attentionOf(width: number): typeof attention {
  return { ...attention, q: f(B, Tq, H, width), k: f(B, Tk, Hk, width), v: f(B, Tk, Hk, width), o: f(B, Tq, H, width) };
}

function disposed<T extends Tensor<DType>>(tensor: T): T {
  tensor.dispose();
  return tensor;
}

describe("each call is held to what Ops states", () => {
  it("calls that keep to it pass, with views, transposed weights and sizes of 1 for all", () => {
    const projection = f(B, Tq, 3 * H * D);
    const q = projection.view([B, Tq, H, D], { strides: [Tq * 3 * H * D, 3 * H * D, D, 1], offset: H * D });
    const single = { qRows: null, kRows: null, lo: i(1, 1, Tq), hi: i(1, 1, Tq), qLo: i(1, 1, Tk), qHi: i(1, 1, Tk) };
    ops.attentionForward({ ...attention, q, staircase: single });
    ops.staircase(staircaseCall);
    ops.linear({ ...linear, w: f(5, 4), transposed: true, bias: f(5), residual: linear.out });
    ops.embed(embed);
    ops.layerNorm(norm);
  });

  const bad: [string, () => void, new (...args: never) => Error, string][] = [
    [
      "a size that differs",
      () => ops.linear({ ...linear, out: f(3, 6) }),
      ShapeError,
      "linear: out is [N,O] with N=3, O=5, got [3,6].",
    ],
    [
      "a weight not turned",
      () => ops.linear({ ...linear, transposed: true }),
      ShapeError,
      "linear: w is [O,I] with I=4, got [4,5].",
    ],
    [
      "a wrong rank",
      () => ops.layerNorm({ ...norm, x: f(1, 3, 4) }),
      ShapeError,
      "layerNorm: x is [N,C], got [1,3,4].",
    ],
    [
      "a missing tensor",
      () => ops.layerNorm({ ...norm, weight: undefined as never }),
      ShapeError,
      "layerNorm: weight is a tensor [C], got none.",
    ],
    [
      "integers for floats",
      () => ops.linear({ ...linear, x: i(3, 4) as never }),
      DTypeError,
      "linear: x has a type that reference (float64, one thread) computes in, f32, got i32.",
    ],
    [
      "a type that the device lacks",
      () => ops.add({ x: device.empty([2], "f16"), y: f(2), out: f(2) }),
      DTypeError,
      "add: x has a type that reference (float64, one thread) computes in, f32, got f16.",
    ],
    [
      "floats for integers",
      () => ops.embed({ ...embed, tokens: f(2, 3) as never }),
      DTypeError,
      "embed: tokens is i32, got f32.",
    ],
    [
      "a copy between types",
      () => ops.copy({ x: f(2), out: i(2) }),
      DTypeError,
      "copy: x and out have one dtype, got f32 and i32.",
    ],
    [
      "a disposed tensor",
      () => ops.fill({ out: disposed(f(2)), value: 0 }),
      ShapeError,
      "fill: a tensor in use must not be disposed, got out [2], disposed.",
    ],
    [
      "a strided view where none may be",
      () => ops.linear({ ...linear, x: f(3, 8).slice(1, 0, 4) }),
      ShapeError,
      "linear: x is contiguous, got shape [3,4], strides [8,1]. Copy it first.",
    ],
    [
      "a last dimension with gaps",
      () => ops.copy({ x: f(2, 6).view([2, 3], { strides: [6, 2] }), out: f(2, 3) }),
      ShapeError,
      "copy: x has a contiguous last dimension, got strides [6,2].",
    ],
    [
      "too few positions",
      () => ops.embed({ ...embed, firstPosition: 3 }),
      ShapeError,
      "embed: positionTable has a row for each position, got 5 rows for positions 3 to 5.",
    ],
    [
      "half a position",
      () => ops.embed({ ...embed, firstPosition: 0.5 }),
      ShapeError,
      "embed: firstPosition is a whole number of at least 0, got 0.5.",
    ],
    [
      "another shape to add",
      () => ops.add({ x: f(2, 3), y: f(3, 2), out: f(2, 3) }),
      ShapeError,
      "add: y has the shape of x, [2,3], got [3,2].",
    ],
    [
      "an odd D to rotate",
      () => ops.rope({ x: f(1, 1, 1, 3), out: f(1, 1, 1, 3), base: 10, firstPosition: 0 }),
      ShapeError,
      "rope: D is even, got D=3.",
    ],
    [
      "too many buckets",
      () => ops.lshBuckets({ x: f(1, 1, 1, 2), rotations: f(1, 2, 129), out: i(1, 1, 1) }),
      ShapeError,
      "lshBuckets: buckets are an even number of 2 to 256, got 258.",
    ],
    [
      "moments of other buckets",
      () => ops.lshBuckets({ x: f(1, 1, 1, 2), rotations: f(1, 2, 4), moments: f(1, 1, 3, 2), out: i(1, 1, 1) }),
      ShapeError,
      "lshBuckets: moments is [B,H,R,2] with B=1, H=1, R=4, got [1,1,3,2].",
    ],
    [
      "half a row before the first",
      () => ops.lshBuckets({ x: f(1, 1, 1, 2), rotations: f(1, 2, 4), firstPosition: 0.5, out: i(1, 1, 1) }),
      ShapeError,
      "lshBuckets: firstPosition is a whole number of at least 0, got 0.5.",
    ],
    [
      "a key of one word",
      () => ops.keepMask({ key: i(1), keep: 0.5, out: i(2) }),
      ShapeError,
      "keepMask: key is [2], got [1].",
    ],
    [
      "a share above 1",
      () => ops.keepMask({ key: i(2), keep: 1.5, out: i(2) }),
      ShapeError,
      "keepMask: keep is a share of 0 to 1, got 1.5.",
    ],
    [
      "D = 8",
      () => ops.attentionForward(attentionOf(8)),
      ShapeError,
      "attentionForward: D is 16 to 256 in steps of 8, got D=8.",
    ],
    [
      "D = 20",
      () => ops.attentionForward(attentionOf(20)),
      ShapeError,
      "attentionForward: D is 16 to 256 in steps of 8, got D=20.",
    ],
    [
      "key heads that do not divide",
      () =>
        ops.attentionForward({
          ...attention,
          k: f(B, Tk, 3, D),
          v: f(B, Tk, 3, D),
          staircase: { ...staircase, kRows: null },
        }),
      ShapeError,
      "attentionForward: H must be a multiple of Hk, got H=4, Hk=3.",
    ],
    [
      "a staircase of another length",
      () => ops.attentionForward({ ...attention, staircase: { ...staircase, hi: i(B, H, Tk) } }),
      ShapeError,
      "attentionForward: staircase.hi is [B|1,H|1,Tq] with B=2, H=4, Tq=3, got [2,4,5].",
    ],
    [
      "groups without rows to write",
      () => ops.staircase({ ...staircaseCall, out: { ...staircase, qRows: null } }),
      ShapeError,
      "staircase: qGroups need qRows, got none.",
    ],
    [
      "too many groups",
      () => ops.staircase({ ...staircaseCall, rule: { ...rule, groupCount: 257 } }),
      ShapeError,
      "staircase: groupCount is a whole number of 1 to 256, got 257.",
    ],
    [
      "distances turned round",
      () => ops.staircase({ ...staircaseCall, rule: { ...rule, near: 3, far: 1 } }),
      ShapeError,
      "staircase: far is at least near - 1, got near=3, far=1.",
    ],
    [
      "one staircase for groups that differ",
      () =>
        ops.staircase({
          ...staircaseCall,
          out: {
            ...staircase,
            qRows: i(B, 1, Tq),
            lo: i(B, 1, Tq),
            hi: i(B, 1, Tq),
            qLo: i(B, 1, Tk),
            qHi: i(B, 1, Tk),
          },
        }),
      ShapeError,
      "staircase: out has the H of qGroups, got H=1 for H=4.",
    ],
    [
      "a tensor of another device",
      () => ops.fill({ out: openReferenceDevice({ precision: "f32" }).zeros([2]), value: 0 }),
      UnsupportedError,
      "fill: tensors live on the device that computes, reference (float64, one thread), got out on reference (float32, one thread). Read it there and make it anew here.",
    ],
  ];

  it.each(bad)("refuses %s", (_, call, kind, message) => {
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  });
});
