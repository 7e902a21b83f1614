import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { FakeCublasLt } from "../../../test/fakeCublasLt.ts";
import { FakeCompiler, FakeDriver } from "../../../test/fakeDriver.ts";
import { openReferenceDevice, referenceValues } from "../../reference/device.ts";
import { normalAt } from "../../rng.ts";
import { bytesPerElement, type FloatType, Tensor } from "../../tensor.ts";
import { epilogue } from "./cublaslt.ts";
import type { CudaStorage } from "./kernel_arguments.ts";
import { linear } from "./linear.ts";
import { asIs, type Product, product, turned } from "./product.ts";
import { CudaRuntime } from "./runtime.ts";

const facts = {
  ...{ device: 0, name: "H200", computeCapability: { major: 9, minor: 0 }, processors: 132 },
  ...{ memoryBytes: 2 ** 37, sharedBytesPerBlock: 232448, driverVersion: "13.0" },
};

function open({ deterministic = false } = {}) {
  const [driver, products, compiler] = [new FakeDriver(), new FakeCublasLt(), new FakeCompiler()];
  const runtime = new CudaRuntime({ driver, compiler, products, facts, context: 1n, deterministic });
  return { driver, products, compiler, runtime };
}

const reference = openReferenceDevice();
let stream = 0;

/** The same values on the reference and in the memory of the library that stands in for cuBLASLt. */
function pair(products: FakeCublasLt, shape: number[], { dtype = "bf16" as FloatType, shift = 0 } = {}) {
  const n = stream++;
  const size = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: size }, (_, i) => normalAt(5, n, i));
  const address = products.place(values, bytesPerElement[dtype], { shift });
  const storage: CudaStorage = { address, bytes: size * bytesPerElement[dtype] };
  return { cuda: new Tensor(reference, storage, dtype, shape), plain: reference.tensor(values, shape), address };
}

type Pair = ReturnType<typeof pair>;

function expectEqual(products: FakeCublasLt, { plain, address }: Pair) {
  const [actual, wanted] = [products.valuesAt(address), referenceValues(plain)];
  expect(actual).toHaveLength(wanted.length);
  for (const [i, value] of actual.entries()) expect(value, `element ${i}`).toBeCloseTo(wanted[i]!, 9);
}

/** A product of bf16 matrices with nothing after it. */
const bare = { type: "bf16", outType: "bf16", bias: 0, preGelu: 0, slopeOf: 0, residual: 0 } as const;

beforeEach(() => {
  vi.stubEnv("SCFA_CACHE", mkdtempSync(join(tmpdir(), "scfa-kernels-")));
});

describe.each([false, true])("with transposed weights: %s", (transposed) => {
  const [N, I, O] = [5, 3, 8];
  const weights = transposed ? [O, I] : [I, O];

  test.each([
    { name: "x w", given: [], kind: epilogue.none },
    { name: "x w + bias", given: ["bias"], kind: epilogue.bias },
    { name: "x w + residual", given: ["residual"], kind: epilogue.none },
    { name: "x w + bias + residual", given: ["bias", "residual"], kind: epilogue.bias },
    { name: "gelu(x w)", given: ["preGelu"], kind: epilogue.gelu },
    { name: "gelu(x w + bias)", given: ["bias", "preGelu"], kind: epilogue.geluBias },
  ])("linear is asked for as $name, in one call", ({ given, kind }) => {
    const { products, runtime } = open();
    const make = (name: string, shape: number[]) => (given.includes(name) ? pair(products, shape) : null);
    const [x, w, out] = [pair(products, [N, I]), pair(products, weights), pair(products, [N, O])];
    const [bias, residual, preGelu] = [make("bias", [O]), make("residual", [N, O]), make("preGelu", [N, O])];
    const call = (side: "cuda" | "plain") => ({
      ...{ x: x[side], w: w[side], out: out[side], transposed },
      ...{ bias: bias?.[side] ?? null, residual: residual?.[side] ?? null, preGelu: preGelu?.[side] ?? null },
    });
    linear(runtime, call("cuda"));
    reference.ops.linear(call("plain"));
    expectEqual(products, out);
    if (preGelu) expectEqual(products, preGelu);
    expect(products.calls.map((made) => made.epilogue)).toEqual([kind]);
  });

  test.each([{ withGelu: false }, { withGelu: true }])(
    "the input's gradient is one call (gelu: $withGelu)",
    ({ withGelu }) => {
      const { products, runtime } = open();
      const [rows, inner, outer] = [5, 16, 3];
      const [dout, w] = [pair(products, [rows, outer]), pair(products, transposed ? [outer, inner] : [inner, outer])];
      const [dx, preGelu] = [pair(products, [rows, inner]), pair(products, [rows, inner])];
      product(runtime, {
        ...{ ...bare, M: rows, N: inner, K: outer, a: asIs(dout.cuda), b: transposed ? asIs(w.cuda) : turned(w.cuda) },
        ...{ slopeOf: withGelu ? preGelu.address : 0, out: dx.address },
      });
      reference.ops.linearBackwardInput({
        ...{ dout: dout.plain, w: w.plain, transposed, dx: dx.plain },
        preGelu: withGelu ? preGelu.plain : null,
      });
      expectEqual(products, dx);
      expect(products.calls).toHaveLength(1);
    },
  );

  test("the weights' gradient is added to in float32", () => {
    const { products, runtime } = open();
    const [x, dout] = [pair(products, [N, I]), pair(products, [N, O])];
    const dw = pair(products, weights, { dtype: "f32" });
    const [rows, columns] = transposed ? [dout, x] : [x, dout];
    product(runtime, {
      ...{ ...bare, outType: "f32", M: weights[0]!, N: weights[1]!, K: N },
      ...{ a: turned(rows.cuda), b: asIs(columns.cuda), residual: dw.address, out: dw.address },
    });
    reference.ops.linearBackwardWeight({ x: x.plain, dout: dout.plain, transposed, dw: dw.plain });
    expectEqual(products, dw);
  });
});

describe("what the library does not do", () => {
  /** Product of the given size; memory from the library that stands in. */
  function prepare(sizes: { M: number; N: number; K: number }, products: FakeCublasLt): Product {
    const { M, N, K } = sizes;
    const [a, b, out] = [pair(products, [M, K]), pair(products, [K, N]), pair(products, [M, N])];
    return { ...bare, M, N, K, a: asIs(a.cuda), b: asIs(b.cuda), out: out.address };
  }
  const launched = (compiler: FakeCompiler) => compiler.programs.map(({ name }) => name);

  test.each([
    { name: "gelu and a residual", N: 8, given: ["bias", "preGelu", "residual"], width: 8 },
    { name: "gelu's slope and a sum", N: 8, given: ["slopeOf", "residual"], width: 8 },
    { name: "a 16-bit sum in place", N: 8, given: ["residual"], width: 8 },
    { name: "gelu of an odd width", N: 7, given: ["preGelu"], width: 1 },
    { name: "a bias that is not aligned", N: 8, given: ["oddBias"], width: 1 },
  ])("$name: the product goes to float32, the rest is a kernel's", ({ N, given, width }) => {
    const { products, compiler, runtime } = open();
    const p = prepare({ M: 4, N, K: 3 }, products);
    const make = (name: string, shape: number[]) => (given.includes(name) ? pair(products, shape).address : 0);
    const scratch = products.place(new Float32Array(4 * N), 4);
    vi.spyOn(runtime, "withScratch").mockImplementation((bytes, use) => {
      expect(bytes).toBe(4 * N * 4);
      return use(scratch);
    });
    const bias = given.includes("oddBias") ? pair(products, [N], { shift: 2 }).address : make("bias", [N]);
    const [preGelu, slopeOf] = [make("preGelu", [4, N]), make("slopeOf", [4, N])];
    product(runtime, { ...p, bias, preGelu, slopeOf, residual: given.includes("residual") ? p.out : 0 });
    expect(products.calls).toEqual([{ epilogue: epilogue.none, algorithm: 0, out: scratch, beta: 0 }]);
    expect(launched(compiler)).toEqual(["product_epilogue.cu"]);
    expect(compiler.programs[0]!.defines).toMatchObject({ SUM_F32: 1, WIDTH: width });
  });

  test("long outputs go through float32 some rows at a time, each row once and from its own memory", () => {
    const { driver, products, runtime } = open();
    const [M, N, K] = [300, 2 ** 17, 3];
    const multiplied: number[] = [];
    const real = products.attempt.bind(products);
    products.attempt = (name, ...args) => {
      if (name !== "cublasLtMatmul") return real(name, ...args);
      multiplied.push(args[5] as number);
      return 0;
    };
    const finished: { pointers: bigint[]; size: bigint }[] = [];
    driver.answers.set("cuLaunchKernel", (args) => {
      const [block] = new BigUint64Array(driver.memoryAt(args.at(-2) as number, 8).slice().buffer);
      const fields = [...new BigUint64Array(driver.memoryAt(Number(block), 64).slice().buffer)];
      finished.push({ pointers: fields.slice(2, 6), size: fields[6]! });
      return 0;
    });
    const [a, preGelu, residual, out] = [1, 2, 4, 5].map((n) => n * 2 ** 40);
    const operands = { a: { address: a!, turned: false }, b: { address: 2 ** 45, turned: false } };
    product(runtime, { ...bare, M, N, K, ...operands, preGelu: preGelu!, residual: residual!, out: out! });
    const starts = [0, 128, 256];
    expect(multiplied).toEqual(starts.map((row) => a! + row * K * 2));
    expect(finished).toEqual(
      starts.map((row) => ({
        pointers: [preGelu!, 0, residual!, out!].map((at) => BigInt(at && at + row * N * 2)),
        size: BigInt(Math.min(128, M - row) * N),
      })),
    );
  });

  test("a product that it turns down is our own kernel's, a block for each 64 x 64 of the output", () => {
    const { driver, products, compiler, runtime } = open();
    products.refuses = () => true;
    product(runtime, prepare({ M: 65, N: 129, K: 3 }, products));
    expect(launched(compiler)).toEqual(["linear_any.cu"]);
    expect(driver.calls("cuLaunchKernel")[0]!.slice(1, 5)).toEqual([2, 3, 1, 256]);
  });

  test("a sum over nothing is our own kernel's, and an empty output is no work", () => {
    const { driver, products, compiler, runtime } = open();
    product(runtime, prepare({ M: 2, N: 3, K: 0 }, products));
    expect(launched(compiler)).toEqual(["linear_any.cu"]);
    product(runtime, prepare({ M: 0, N: 3, K: 2 }, products));
    product(runtime, prepare({ M: 2, N: 0, K: 2 }, products));
    expect(driver.calls("cuLaunchKernel")).toHaveLength(1);
  });
});

describe("choosing an algorithm", () => {
  const [M, N, K] = [2, 2, 2 ** 27];
  /** A product large enough to be timed; `withTimes` has it not computed, so that only its output is held. */
  function prepare(products: FakeCublasLt): Product {
    const dw = products.place([1, 2, 3, 4], 4);
    return {
      ...{ ...bare, outType: "f32", M, N, K, a: { address: 2 ** 40, turned: true } },
      ...{ b: { address: 2 ** 41, turned: false }, residual: dw, out: dw },
    };
  }
  /** Has algorithm n take 10, 5, 2, 7 ms and compute nothing. @returns what ran, and into which output */
  function withTimes({ driver, products }: ReturnType<typeof open>) {
    products.proposals = 4;
    const ran: { algorithm: number; out: number }[] = [];
    const real = products.attempt.bind(products);
    products.attempt = (name, ...args) => {
      if (name !== "cublasLtMatmul") return real(name, ...args);
      ran.push({ algorithm: (args[12] as Uint8Array)[0]!, out: args[10] as number });
      return 0;
    };
    driver.answers.set("cuEventElapsedTime", ([at]) => {
      (at as Float32Array)[0] = [10, 5, 2, 7][ran.at(-1)!.algorithm]!;
      return 0;
    });
    return ran;
  }

  test("times them at first use, never into the output that is added to, and keeps the fastest", () => {
    const opened = open();
    const ran = withTimes(opened);
    const p = prepare(opened.products);
    product(opened.runtime, p);
    const [trials, [last]] = [ran.slice(0, -1), ran.slice(-1)];
    expect(new Set(trials.map(({ algorithm }) => algorithm))).toEqual(new Set([0, 1, 2, 3]));
    expect(trials.filter(({ out }) => out === p.out)).toEqual([]);
    expect(last).toEqual({ algorithm: 2, out: p.out });
    const before = ran.length;
    product(opened.runtime, p);
    expect(ran.slice(before)).toEqual([{ algorithm: 2, out: p.out }]);
  });

  test.each([
    { inOnePass: 3, inTwoPasses: 5, launches: 0 },
    { inOnePass: 5, inTwoPasses: 3, launches: 1 },
  ])("leaves gelu to the library where that is faster ($inOnePass ms, $inTwoPasses ms)", (row) => {
    const opened = open();
    const { driver, runtime } = opened;
    withTimes(opened);
    driver.answers.set("cuEventElapsedTime", ([at]) => {
      const since = driver.log.slice(driver.log.findLastIndex(({ name }) => name === "cuEventRecord") - 1);
      const isTwoPasses = since.some(({ name }) => name === "cuLaunchKernel");
      (at as Float32Array)[0] = isTwoPasses ? row.inTwoPasses : row.inOnePass;
      return 0;
    });
    const p = { ...prepare(opened.products), outType: "bf16" as const, N: 8, residual: 0, preGelu: 2 ** 42 };
    product(runtime, p);
    const before = driver.calls("cuLaunchKernel").length;
    product(runtime, p);
    expect(driver.calls("cuLaunchKernel").length - before).toBe(row.launches);
  });

  test("takes the first, untimed, where every run must choose alike", () => {
    const opened = open({ deterministic: true });
    const ran = withTimes(opened);
    product(opened.runtime, prepare(opened.products));
    expect(ran.map(({ algorithm }) => algorithm)).toEqual([0]);
  });

  test("takes the first while recording, and times at the next use outside", () => {
    const opened = open();
    const ran = withTimes(opened);
    const p = prepare(opened.products);
    opened.runtime.isCapturing = true;
    product(opened.runtime, p);
    expect(ran.map(({ algorithm }) => algorithm)).toEqual([0]);
    opened.runtime.isCapturing = false;
    product(opened.runtime, p);
    expect(ran.at(-1)!.algorithm).toBe(2);
  });
});
