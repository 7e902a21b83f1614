import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fieldOffsets, hasCompiler, structText } from "../../../test/cStruct.ts";
import { fakeTensor, openFakeCuda, rtx3090 } from "../../../test/fakeCuda.ts";
import type { Staircase } from "../../staircase/staircase.ts";
import type { FloatType, Tensor } from "../../tensor.ts";
import { attentionBackward } from "./attention_backward.ts";
import { backwardBuild, forwardBuild } from "./attention_builds.ts";
import { attentionDelta } from "./attention_delta.ts";
import { attentionForward } from "./attention_forward.ts";
import { addressOf } from "./kernel_arguments.ts";

interface Case {
  readonly B: number;
  readonly H: number;
  readonly Hk: number;
  readonly Tq: number;
  readonly Tk: number;
  readonly D: number;
  readonly dtype?: FloatType;
  /** Whether rows are visited by tables. */
  readonly ordered?: boolean;
  /** Elements between the rows of all [B,T,H,D] tensors beyond what they need. */
  readonly gap?: number;
}

const small: Case = { B: 2, H: 4, Hk: 2, Tq: 300, Tk: 200, D: 64 };

/** All that attention reads and writes, on a fake GPU. */
function problem(
  { runtime }: Pick<ReturnType<typeof openFakeCuda>, "runtime">,
  { B, H, Hk, Tq, Tk, D, dtype = "bf16", ordered = false, gap = 0 }: Case,
) {
  const rows = (T: number, heads: number): Tensor => {
    const width = heads * D + gap;
    const strides = [T * width, width, D, 1];
    return fakeTensor(runtime, [B * T * width], dtype).view([B, T, heads, D], { strides });
  };
  const table = (...shape: number[]) => fakeTensor(runtime, shape, "i32");
  const staircase: Staircase = {
    qRows: ordered ? table(B, H, Tq) : null,
    kRows: ordered ? table(B, Hk, Tk) : null,
    ...{ lo: table(1, H, Tq), hi: table(1, H, Tq), qLo: table(1, H, Tk), qHi: table(1, H, Tk) },
  };
  const [q, o, dout, dq] = [1, 2, 3, 4].map(() => rows(Tq, H)) as [Tensor, Tensor, Tensor, Tensor];
  const [k, v, dk, dv] = [1, 2, 3, 4].map(() => rows(Tk, Hk)) as [Tensor, Tensor, Tensor, Tensor];
  const [lse, delta] = [1, 2].map(() => fakeTensor(runtime, [B, H, Tq], "f32")) as [Tensor, Tensor];
  const inputs = { q, k, v, staircase, scale: 0.125, lse };
  return { forward: { ...inputs, o }, backward: { ...inputs, delta, dout, dq, dk, dv }, delta: { o, dout, delta } };
}

const entries = (cuda: ReturnType<typeof openFakeCuda>) => cuda.launches.map(({ entry }) => entry);

describe("arguments", () => {
  test.skipIf(!hasCompiler)("lie where a C compiler puts AttentionArgs (needs g++)", () => {
    const cuda = openFakeCuda();
    const { backward } = problem(cuda, { ...small, ordered: true });
    attentionBackward(cuda.runtime, { ...backward, accumulateKV: true });
    const source = readFileSync(new URL("common.cuh", import.meta.url), "utf8");
    const structs = ["View", "Index", "AttentionArgs"].map((name) => structText(source, name)).join("\n");
    const views = ["q", "k", "v", "dout", "dq", "dk", "dv", "lse", "delta"] as const;
    const tables = ["qRows", "kRows", "lo", "hi", "qLo", "qHi"] as const;
    const numbers = { B: 2, H: 4, Hk: 2, Tq: 300, Tk: 200, D: 64, merge: 0, accumulateQ: 0, accumulateKV: 1 };
    const paths = [
      ...views.flatMap((name) => ["data", "batch", "row", "head"].map((field) => `${name}.${field}`)),
      ...tables.flatMap((name) => ["data", "batch", "head"].map((field) => `${name}.${field}`)),
      ...["counter", "scale", ...Object.keys(numbers)],
    ];
    const at = fieldOffsets(structs, "AttentionArgs", paths);
    const bytes = cuda.launches[0]!.parameters[0]!;
    const wide = (path: string) => Number(bytes.getBigInt64(at[path]!, true));
    for (const name of views) {
      const tensor = backward[name];
      const [batch, row, head] = tensor.shape.length === 3 ? [0, 2, 1] : [0, 1, 2];
      const found = ["data", "batch", "row", "head"].map((field) => wide(`${name}.${field}`));
      const strides = [batch, row, head].map((axis) => tensor.strides[axis!]);
      expect([name, ...found]).toEqual([name, addressOf(tensor), ...strides]);
    }
    for (const name of tables) {
      const tensor = backward.staircase[name]!;
      const strides = ["batch", "head"].map((field) => bytes.getInt32(at[`${name}.${field}`]!, true));
      const wanted = [0, 1].map((axis) => (tensor.shape[axis] === 1 ? 0 : tensor.strides[axis]));
      expect([name, wide(`${name}.data`), ...strides]).toEqual([name, addressOf(tensor), ...wanted]);
    }
    for (const [name, value] of Object.entries(numbers)) expect(bytes.getInt32(at[name]!, true)).toBe(value);
    expect(bytes.getFloat32(at.scale!, true)).toBe(0.125);
    expect(wide("counter")).toBe(cuda.runtime.counter);
  });
});

describe("forward", () => {
  test("of rows in their own order on Hopper loads keys and values by tensor maps", () => {
    const cuda = openFakeCuda();
    const { forward } = problem(cuda, small);
    attentionForward(cuda.runtime, forward);
    expect(cuda.launches).toMatchObject([
      { entry: "attention_forward_sm90", architecture: "sm_90a", grid: [2 * 4 * 2, 1, 1], threads: 512 },
    ]);
    expect(cuda.launches[0]!.defines).toEqual({
      ...{ IDENTITY: 1, HEAD_DIM: 64, CONSUMERS: 3, BLOCK_N: 128, STAGES: 4 },
      ...{ REGISTERS_LOAD: 32, REGISTERS_COMPUTE: 160 },
    });
    const maps = cuda.driver.calls("cuTensorMapEncodeTiled");
    expect(maps.map((args) => args[3])).toEqual([addressOf(forward.k), addressOf(forward.v)]);
    const [map, , rank, , sizes, strides, box] = maps[0]!;
    expect(Number(map) % 64).toBe(0);
    expect([rank, sizes, strides, box]).toEqual([
      4,
      BigUint64Array.of(64n, 2n, 200n, 2n),
      BigUint64Array.of(128n, 256n, 51200n),
      Uint32Array.of(64, 1, 128, 1),
    ]);
  });

  test("of rows in another order gathers them, and a long one fills the GPU once", () => {
    const cuda = openFakeCuda();
    attentionForward(cuda.runtime, problem(cuda, { ...small, Tq: 16384, Tk: 16384, ordered: true }).forward);
    expect(cuda.launches).toMatchObject([{ entry: "attention_forward_sm90", grid: [132, 1, 1] }]);
    expect(cuda.launches[0]!.defines).toMatchObject({ BLOCK_N: 96, STAGES: 5 });
    expect(cuda.launches[0]!.defines).not.toHaveProperty("IDENTITY");
    expect(cuda.driver.calls("cuTensorMapEncodeTiled")).toEqual([]);
  });

  test.each([
    { why: "heads lie outside rows", strides: [200 * 128, 64, 200 * 64, 1] },
    { why: "a batch entry is repeated", strides: [0, 128, 64, 1] },
  ])("gathers rows in their own order too where $why", ({ strides }) => {
    const cuda = openFakeCuda();
    const { forward } = problem(cuda, small);
    const k = fakeTensor(cuda.runtime, [2 * 200 * 2 * 64], "bf16").view([2, 200, 2, 64], { strides });
    attentionForward(cuda.runtime, { ...forward, k });
    expect(entries(cuda)).toEqual(["attention_forward_sm90"]);
    expect(cuda.launches[0]!.defines).not.toHaveProperty("IDENTITY");
  });

  test("takes a scale that is not positive in the mma family, whose scores are scaled before they are masked", () => {
    const cuda = openFakeCuda();
    const { forward } = problem(cuda, small);
    for (const scale of [-0.5, 0, 1e-42]) attentionForward(cuda.runtime, { ...forward, scale });
    expect(entries(cuda)).toEqual(["attention_forward", "attention_forward", "attention_forward"]);
    for (const { defines } of cuda.launches) expect(defines).toMatchObject({ ANY_SCALE: 1, HEAD_DIM: 64 });
  });

  test("pads a head dimension of 72 to 128 and needs a block for each 64 queries", () => {
    const cuda = openFakeCuda();
    attentionForward(cuda.runtime, problem(cuda, { ...small, D: 72, dtype: "f16" }).forward);
    expect(cuda.launches).toMatchObject([{ entry: "attention_forward", grid: [5 * 4 * 2, 1, 1], threads: 128 }]);
    expect(cuda.launches[0]!.defines).toEqual({ ELEMENT_F16: 1, IDENTITY: 1, HEAD_DIM: 128, BLOCK_M: 64, BLOCK_N: 32 });
  });

  test("without keys still writes o and lse, and asks for no map of nothing", () => {
    const cuda = openFakeCuda();
    attentionForward(cuda.runtime, problem(cuda, { ...small, Tk: 0 }).forward);
    expect(entries(cuda)).toEqual(["attention_forward_sm90"]);
    expect(cuda.driver.calls("cuTensorMapEncodeTiled")).toEqual([]);
  });

  test("copies rows that do not begin at 16 bytes, and o back; with merge also what o held", () => {
    for (const merge of [false, true]) {
      const cuda = openFakeCuda();
      const { forward } = problem(cuda, { ...small, gap: 4 });
      attentionForward(cuda.runtime, { ...forward, merge });
      const before = merge ? ["copy", "copy", "copy", "copy"] : ["copy", "copy", "copy"];
      expect(entries(cuda)).toEqual([...before, "attention_forward_sm90", "copy"]);
    }
  });
});

describe("backward", () => {
  test("on Hopper is one kernel between the clearing and the rounding of dq", () => {
    const cuda = openFakeCuda();
    attentionBackward(cuda.runtime, problem(cuda, small).backward);
    expect(cuda.launches).toMatchObject([
      { entry: "attention_backward_prepare", grid: [5 * 4 * 2, 1, 1], defines: { WITH_DQ: 1 } },
      { entry: "attention_backward_sm90", grid: [2 * 2 * 2, 1, 1], threads: 384, defines: { REGISTERS_LOAD: 40 } },
      { entry: "attention_backward_finish", grid: [5 * 4 * 2, 1, 1] },
    ]);
    const [, , , , stats] = cuda.driver.calls("cuTensorMapEncodeTiled");
    // A row is a tile's 64 queries, two numbers each.
    expect([stats![4], stats![6]]).toEqual([BigUint64Array.of(128n, 40n, 1n, 1n), Uint32Array.of(128, 1, 1, 1)]);
  });

  test("of D = 128 on Hopper is one kernel too, with one buffer of keys and three stages of queries", () => {
    const cuda = openFakeCuda();
    attentionBackward(cuda.runtime, problem(cuda, { ...small, D: 128, dtype: "f16" }).backward);
    expect(cuda.launches).toMatchObject([
      { entry: "attention_backward_prepare", grid: [5 * 4 * 2, 1, 1], threads: 256 },
      { entry: "attention_backward_sm90", grid: [2 * 2 * 2, 1, 1], threads: 384, architecture: "sm_90a" },
      { entry: "attention_backward_finish", grid: [5 * 4 * 2, 1, 1], threads: 256 },
    ]);
    expect(cuda.launches[1]!.defines).toEqual({
      ...{ ELEMENT_F16: 1, IDENTITY: 1, HEAD_DIM: 128, WITH_DQ: 1 },
      ...{ STAGES: 3, REGISTERS_LOAD: 56, REGISTERS_COMPUTE: 224 },
    });
    // Keys and values; query tiles with their statistics; gradients and weights; bounds; barriers; the dealer.
    const stage = 2 * 64 * 256 + 64 * 8;
    const exchanged = 3 * 128 * 128;
    expect(cuda.launches[1]!.sharedBytes).toBe(1024 + 2 * 128 * 256 + 3 * stage + exchanged + 2048 + 6 * 16 + 384);
    const maps = cuda.driver.calls("cuTensorMapEncodeTiled").slice(0, 4);
    // Boxes are of one panel of 64 features.
    expect(maps.map((args) => args[6])).toEqual(maps.map(() => Uint32Array.of(64, 1, 64, 1)));
    expect(maps[0]![4]).toEqual(BigUint64Array.of(128n, 4n, 300n, 2n));
  });

  test("of D = 128 by tables gathers, and leaves an ordered dq to the mma family as of D = 64", () => {
    for (const deterministic of [false, true]) {
      const cuda = openFakeCuda({ deterministic });
      attentionBackward(cuda.runtime, problem(cuda, { ...small, D: 128, ordered: true }).backward);
      const last = deterministic ? "attention_backward_q" : "attention_backward_finish";
      expect(entries(cuda)).toEqual(["attention_backward_prepare", "attention_backward_sm90", last]);
      expect(cuda.launches[1]!.defines).toMatchObject({ HEAD_DIM: 128, WITH_DQ: deterministic ? 0 : 1 });
      expect(cuda.launches[1]!.defines).not.toHaveProperty("IDENTITY");
      // That of the statistics.
      expect(cuda.driver.calls("cuTensorMapEncodeTiled")).toHaveLength(1);
    }
  });

  test("that must give equal bits leaves dq to a kernel that adds in order", () => {
    const cuda = openFakeCuda({ deterministic: true });
    attentionBackward(cuda.runtime, problem(cuda, { ...small, ordered: true }).backward);
    expect(entries(cuda)).toEqual(["attention_backward_prepare", "attention_backward_sm90", "attention_backward_q"]);
    expect(cuda.launches.slice(0, 2).map(({ defines }) => defines.WITH_DQ)).toEqual([0, 0]);
  });

  test("of D = 256 shares the features of a row among two blocks", () => {
    const cuda = openFakeCuda();
    attentionBackward(cuda.runtime, problem(cuda, { ...small, D: 200 }).backward);
    expect(cuda.launches).toMatchObject([
      { entry: "attention_backward_kv", grid: [4 * 2 * 2, 2, 1] },
      { entry: "attention_backward_q", grid: [5 * 4 * 2, 2, 1] },
    ]);
  });

  test("without queries writes dk and dv, without keys dq", () => {
    const [noQueries, noKeys] = [openFakeCuda(), openFakeCuda()];
    attentionBackward(noQueries.runtime, problem(noQueries, { ...small, Tq: 0 }).backward);
    attentionBackward(noKeys.runtime, problem(noKeys, { ...small, Tk: 0 }).backward);
    expect(entries(noQueries)).toEqual(["attention_backward_sm90"]);
    expect(entries(noKeys)).toEqual(["attention_backward_prepare", "attention_backward_finish"]);
  });

  test("copies what it adds to in and out where rows do not begin at 16 bytes", () => {
    const cuda = openFakeCuda();
    attentionBackward(cuda.runtime, { ...problem(cuda, { ...small, D: 40, gap: 1 }).backward, accumulateKV: true });
    const kernels = ["attention_backward_kv", "attention_backward_q"];
    const copies = (count: number) => new Array<string>(count).fill("copy");
    // q, k, v, o, dout, dk, dv; then dq, dk, dv.
    expect(entries(cuda)).toEqual([...copies(7), ...kernels, ...copies(3)]);
  });
});

test("delta gives 8 threads to a row", () => {
  const cuda = openFakeCuda();
  attentionDelta(cuda.runtime, problem(cuda, { ...small, dtype: "f16" }).delta);
  expect(cuda.launches).toMatchObject([{ entry: "attention_delta", grid: [75, 1, 1], threads: 256 }]);
  expect(cuda.launches[0]!.defines).toEqual({ ELEMENT_F16: 1 });
});

test.each([
  { name: "H200", hasSm90a: true, sharedBytesPerBlock: 232448 },
  { name: "A100", hasSm90a: false, sharedBytesPerBlock: 166912 },
  { name: "RTX 3090", hasSm90a: false, sharedBytesPerBlock: rtx3090.sharedBytesPerBlock },
])("every head dimension fits into the shared memory of an $name", ({ hasSm90a, sharedBytesPerBlock }) => {
  for (let D = 16; D <= 256; D += 8) {
    for (const identity of [false, true]) {
      const wanted = { hasSm90a, sharedBytesPerBlock, D, isF16: false, identity, scale: 1 };
      const { sm90, mma } = backwardBuild(wanted, { deterministic: false });
      const needed = [forwardBuild(wanted).sharedBytes, sm90?.sharedBytes ?? 0, mma.sharedBytes];
      expect([D, Math.max(...needed) <= sharedBytesPerBlock]).toEqual([D, true]);
    }
  }
});
