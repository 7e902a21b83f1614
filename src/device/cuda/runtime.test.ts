import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { FakeCublasLt } from "../../../test/fakeCublasLt.ts";
import { FakeCompiler, FakeDriver } from "../../../test/fakeDriver.ts";
import { DeviceError } from "../../errors.ts";
import type { Facts } from "./facts.ts";
import { readFacts } from "./facts.ts";
import { f32, i32, i64, pack, pointer } from "./kernel_arguments.ts";
import { CudaRecording } from "./recording.ts";
import { CudaRuntime } from "./runtime.ts";
import { Transfers } from "./transfers.ts";

const h200: Facts = {
  device: 0,
  name: "H200",
  computeCapability: { major: 9, minor: 0 },
  processors: 132,
  memoryBytes: 2 ** 37,
  sharedBytesPerBlock: 232448,
  driverVersion: "13.0",
};

function openRuntime({ compiler = new FakeCompiler(), facts = h200 } = {}) {
  const driver = new FakeDriver();
  const runtime = new CudaRuntime({
    driver,
    compiler,
    products: new FakeCublasLt(),
    facts,
    context: 1n,
    deterministic: false,
  });
  return { driver, compiler, runtime };
}

const once = { grid: [1] as const, threads: 32, parameters: [pack([i32(7)])] };

beforeEach(() => {
  vi.stubEnv("SCFA_CACHE", mkdtempSync(join(tmpdir(), "scfa-kernels-")));
});

describe("kernels", () => {
  test("are compiled at first use, once for each set of constants", () => {
    const { compiler, runtime } = openRuntime();
    for (const HEAD_DIM of [64, 64, 128]) runtime.launch({ file: "attention_delta", defines: { HEAD_DIM } }, once);
    expect(compiler.programs.map(({ defines }) => defines)).toEqual([{ HEAD_DIM: 64 }, { HEAD_DIM: 128 }]);
  });

  test("come from the disk in the next process", () => {
    openRuntime().runtime.launch({ file: "attention_delta" }, once);
    const { compiler, runtime } = openRuntime();
    runtime.launch({ file: "attention_delta" }, once);
    expect(compiler.programs).toEqual([]);
  });

  test("are compiled anew where the driver refuses what the disk holds", () => {
    openRuntime().runtime.launch({ file: "attention_delta" }, once);
    const { driver, compiler, runtime } = openRuntime();
    let refusals = 1;
    driver.answers.set("cuModuleLoadData", () => (refusals-- > 0 ? 200 : 0));
    runtime.launch({ file: "attention_delta" }, once);
    expect(compiler.programs).toHaveLength(1);
    expect(driver.calls("cuLaunchKernel")).toHaveLength(1);
  });

  test.each([
    { own: 90, sm90a: false, known: [80, 90], wanted: "sm_90" },
    { own: 90, sm90a: true, known: [80, 90], wanted: "sm_90a" },
    { own: 120, sm90a: false, known: [80, 90], wanted: "compute_90" },
    { own: 86, sm90a: false, known: [80, 86, 90], wanted: "sm_86" },
  ])("for compute capability $own are made as $wanted by a compiler that knows $known", (row) => {
    const facts = { ...h200, computeCapability: { major: Math.floor(row.own / 10), minor: row.own % 10 } };
    const { compiler, runtime } = openRuntime({ compiler: new FakeCompiler(row.known), facts });
    runtime.launch({ file: "attention_delta", sm90a: row.sm90a }, once);
    expect(compiler.programs[0]!.architecture).toBe(row.wanted);
  });

  test("get their argument structs as C lays them out", () => {
    const { driver, runtime } = openRuntime();
    const first = pack([i32(-2), pointer(2 ** 40 + 5), f32(0.5), i64(-3)]);
    runtime.launch({ file: "attention_delta" }, { ...once, parameters: [first, pack([i32(9)])] });
    const list = driver.calls("cuLaunchKernel")[0]!.at(-2) as number;
    const [one, two] = new BigUint64Array(driver.memoryAt(list, 16).slice().buffer);
    const bytes = new DataView(driver.memoryAt(Number(one), 32).slice().buffer);
    expect(bytes.getInt32(0, true)).toBe(-2);
    expect(bytes.getBigInt64(8, true)).toBe(2n ** 40n + 5n);
    expect(bytes.getFloat32(16, true)).toBe(0.5);
    expect(bytes.getBigInt64(24, true)).toBe(-3n);
    expect(new Int32Array(driver.memoryAt(Number(two), 4).slice().buffer)[0]).toBe(9);
  });

  test("that need much shared memory ask for it before their first launch", () => {
    const { driver, runtime } = openRuntime();
    for (const sharedBytes of [1000, 200_000, 100_000]) {
      runtime.launch({ file: "attention_delta" }, { ...once, sharedBytes });
    }
    expect(driver.calls("cuFuncSetAttribute").map((args) => args[2])).toEqual([200_000]);
  });

  test("with nothing to do are not launched", () => {
    const { driver, runtime } = openRuntime();
    runtime.launch({ file: "attention_delta" }, { ...once, grid: [0] });
    expect(driver.calls("cuLaunchKernel")).toEqual([]);
  });
});

describe("a failure of the device", () => {
  test("is thrown by the call that met it and by every later one", async () => {
    const { driver, runtime } = openRuntime();
    driver.answers.set("cuEventQuery", () => 700);
    driver.error = (name) => new DeviceError(name, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access");
    await expect(runtime.idle()).rejects.toThrow(
      /memory is lost; open the device again \(CUDA_ERROR_ILLEGAL_ADDRESS\)/,
    );
    expect(() => runtime.allocate(8)).toThrow(/ILLEGAL_ADDRESS/);
  });

  test("that is a lack of memory names the request, what is held and what to do, and leaves the device usable", () => {
    const { driver, runtime } = openRuntime();
    const isTooMuch = ([, bytes]: readonly unknown[]) => (Number(bytes) > 1e9 ? 2 : 0);
    driver.answers.set("cuMemAllocAsync", isTooMuch);
    expect(() => runtime.allocate(2e9)).toThrow(/request for 2000000000 bytes with \d+ held\. Use a smaller batch/);
    expect(runtime.allocate(8).address).toBeGreaterThan(0);
  });
});

describe("scratch", () => {
  test("is apart from that of the calls around, and used again afterwards", () => {
    const { runtime } = openRuntime();
    const [outer, inner] = runtime.withScratch(1000, (a) => runtime.withScratch(1000, (b) => [a, b] as const));
    expect(inner).toBeGreaterThanOrEqual(outer + 1000);
    expect(runtime.withScratch(1000, (a) => a)).toBe(outer);
  });

  test("that outgrows its block leaves the block of the calls around where it is", () => {
    const { driver, runtime } = openRuntime();
    const [outer, inner, sibling] = runtime.withScratch(1000, (a) => {
      const b = runtime.withScratch(2 ** 28, (address) => address);
      return [a, b, runtime.withScratch(2 ** 20, (address) => address)] as const;
    });
    expect(sibling).toBe(inner);
    expect(inner === outer).toBe(false);
    expect(driver.calls("cuMemFree")).toEqual([]);
  });

  test("takes no memory from the driver once it is large enough", () => {
    const { driver, runtime } = openRuntime();
    for (let i = 0; i < 5; i++) runtime.withScratch(2 ** 27, () => runtime.withScratch(2 ** 26, () => 0));
    expect(driver.calls("cuMemAlloc").length).toBeLessThanOrEqual(2);
  });
});

describe("uploads", () => {
  test("reach the driver with their bytes, and the host waits only for a half that is still being read", () => {
    const { driver, runtime } = openRuntime();
    const transfers = new Transfers(runtime);
    transfers.upload(64, Uint8Array.of(1, 2, 3));
    const [to, from, length] = driver.calls("cuMemcpyHtoDAsync")[0] as number[];
    expect([to, ...driver.memoryAt(from!, length!)]).toEqual([64, 1, 2, 3]);
    const large = new Uint8Array(transfers.uploadBytes);
    transfers.upload(64, large);
    expect(driver.calls("cuEventSynchronize")).toEqual([]);
    transfers.upload(64, large);
    expect(driver.calls("cuEventSynchronize")).toHaveLength(1);
  });
});

describe("a recording", () => {
  test("runs once as it is, is captured once, and is one call from then on", () => {
    const { driver, runtime } = openRuntime();
    const run = vi.fn(() => runtime.launch({ file: "attention_delta" }, once));
    const recording = new CudaRecording(runtime, run);
    for (let i = 0; i < 4; i++) recording.replay();
    expect(run).toHaveBeenCalledTimes(2);
    const names = driver.log.map(({ name }) => name).filter((name) => /Capture|Graph|Launch/.test(name));
    expect(names).toEqual([
      "cuLaunchKernel",
      ...["cuStreamBeginCapture", "cuLaunchKernel", "cuStreamEndCapture", "cuGraphInstantiate", "cuGraphDestroy"],
      ...["cuGraphLaunch", "cuGraphLaunch", "cuGraphLaunch"],
    ]);
  });

  test("ends its capture when what it records throws", () => {
    const { driver, runtime } = openRuntime();
    const run = vi.fn().mockImplementationOnce(() => {});
    run.mockImplementationOnce(() => {
      throw new Error("no");
    });
    const recording = new CudaRecording(runtime, run);
    recording.replay();
    expect(() => recording.replay()).toThrow("no");
    expect(driver.calls("cuStreamEndCapture")).toHaveLength(1);
    expect(runtime.isCapturing).toBe(false);
  });
});

describe("what the driver says of a GPU", () => {
  const tell = (version: number, count: number, capability: [number, number]) => {
    const driver = new FakeDriver();
    const write = (value: number) => (args: readonly unknown[]) => {
      (args[0] as Int32Array)[0] = value;
      return 0;
    };
    driver.answers.set("cuDriverGetVersion", write(version));
    driver.answers.set("cuDeviceGetCount", write(count));
    driver.answers.set("cuDeviceGetAttribute", (args) => {
      const byNumber: Record<number, number> = { 75: capability[0], 76: capability[1], 16: 132, 97: 232448, 115: 1 };
      return write(byNumber[args[1] as number] ?? 0)(args);
    });
    return driver;
  };

  test("is read", () => {
    const facts = readFacts(tell(13000, 1, [9, 0]), 0);
    expect(facts).toMatchObject({ computeCapability: { major: 9, minor: 0 }, processors: 132, driverVersion: "13.0" });
  });

  test.each([
    ["no GPU", tell(13000, 0, [9, 0]), 0, /an NVIDIA GPU must be there, got none\. Look at nvidia-smi/],
    ["an old driver", tell(11080, 1, [9, 0]), 0, /CUDA 12\.0 or later, got CUDA 11\.8\. Install an NVIDIA driver/],
    ["an old GPU", tell(13000, 1, [7, 5]), 0, /compute capability 8\.0 or later .* with 7\.5\. Use the CPU/],
    ["too high a number", tell(13000, 2, [9, 0]), 2, /gpu must be below the number of GPUs, 2, got 2/],
  ])("is refused in words: %s", (_, driver, ordinal, message) => {
    expect(() => readFacts(driver, ordinal)).toThrow(message);
  });
});
