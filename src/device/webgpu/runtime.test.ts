import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openWebgpuOrSay } from "../../../test/swiftShader.ts";
import { DeviceError, KernelCompileError } from "../../errors.ts";
import { findGpu } from "./dawn.ts";
import { openWebgpuDevice, WebgpuDevice } from "./index.ts";
import { u32 } from "./kernel_arguments.ts";
import { WebgpuRuntime } from "./runtime.ts";

const device = await openWebgpuOrSay();
afterAll(() => device?.dispose());

describe.skipIf(!device)("the WebGPU device", () => {
  it("gives memory out again in the order of the work", async () => {
    const sum = device!.zeros([1000]);
    for (let n = 1; n <= 20; n++) {
      const one = device!.tensor(new Float32Array(1000).fill(n), [1000]);
      device!.ops.add({ x: sum, y: one, out: sum });
      one.dispose();
    }
    expect([...new Set(await sum.read())]).toEqual([210]);
    sum.dispose();
  });

  it("runs more launches than it submits at once, in order", async () => {
    const [sum, one] = [device!.zeros([3]), device!.tensor(Float32Array.of(1, 2, 3), [3])];
    for (let n = 0; n < 300; n++) device!.ops.add({ x: sum, y: one, out: sum });
    expect([...(await sum.read())]).toEqual([300, 600, 900]);
    for (const tensor of [sum, one]) tensor.dispose();
  });

  it("spreads grids over two dimensions where one is too short", async () => {
    const count = 65_535 * 256 + 300;
    const out = device!.empty([count], "i32");
    device!.ops.fill({ out, value: -7 });
    expect((await out.read()).every((value) => value === -7)).toBe(true);
    out.dispose();
  });

  it("reads views, and counts the bytes that tensors hold", async () => {
    const before = device!.memory.bytes;
    const x = device!.tensor(
      Float32Array.from({ length: 12 }, (_, n) => n),
      [3, 4],
    );
    expect([...(await x.slice(1, 1, 2).read())]).toEqual([1, 2, 5, 6, 9, 10]);
    expect(device!.memory.bytes).toBeGreaterThan(before);
    x.dispose();
    expect(device!.memory.bytes).toBe(before);
  });

  it("repeats what it recorded, with scratch of the recording's own", async () => {
    const before = device!.memory.bytes;
    // Long enough for column sums by way of scratch.
    const [x, sums] = [device!.tensor(new Float32Array(300 * 4).fill(1), [300, 4]), device!.zeros([4, 4])];
    const dBias = device!.zeros([4]);
    const recording = device!.record(() => device!.ops.linearBackwardWeight({ x, dout: x, dw: sums, dBias }));
    recording.replay();
    // Of the size of what the first replay used: written over by the next ones if it were the same.
    const others = Array.from({ length: 4 }, () => device!.tensor(new Float32Array(40).fill(7), [40]));
    for (let n = 0; n < 2; n++) recording.replay();
    expect([...(await dBias.read())]).toEqual([900, 900, 900, 900]);
    for (const other of others) expect(new Set(await other.read())).toEqual(new Set([7]));
    recording.dispose();
    expect(() => recording.replay()).toThrow("must not be disposed");
    for (const tensor of [x, sums, dBias, ...others]) tensor.dispose();
    expect(device!.memory.bytes).toBe(before);
  });

  it("times work, and names each op of a profile", async () => {
    const x = device!.zeros([4096]);
    const add = () => device!.ops.add({ x, y: x, out: x });
    expect(await device!.time(add)).toBeGreaterThan(0);
    const profile = await device!.profile(() => {
      add();
      device!.ops.fill({ out: x, value: 1 });
    });
    expect(profile.map(({ op }) => op)).toEqual(["add", "fill"]);
    expect(Math.min(...profile.map(({ ms }) => ms))).toBeGreaterThan(0);
    x.dispose();
  });

  it("refuses f16 where the tier has none", async () => {
    const f32Device = await openWebgpuDevice({ tier: "f32" });
    const half = f32Device.empty([4], "f16");
    expect(() => f32Device.ops.cast({ x: f32Device.zeros([4]), out: half })).toThrow('f16 needs the tier "subgroups"');
    await f32Device.synchronize();
    f32Device.dispose();
  });

  it("refuses a tensor beyond what a binding holds", () => {
    expect(() => device!.empty([device!.capabilities.maxTensorBytes])).toThrow(/holds tensors of up to/);
  });

  it.skipIf(!device?.description.includes("SwiftShader"))(
    "computes on after it had no memory for a tensor",
    async () => {
      const x = device!.tensor(Float32Array.of(1, 2, 3), [3]);
      // SwiftShader has no gibibyte in one piece, though its limits say so.
      const tooMuch = device!.empty([device!.capabilities.maxTensorBytes / 4]);
      await expect(device!.synchronize()).rejects.toThrow(
        /^allocate: 1024 MiB must fit into the GPU's memory beside the \d+ MiB of tensors.* \(out of memory\)\.$/,
      );
      device!.ops.add({ x, y: x, out: x });
      expect([...(await x.read())]).toEqual([2, 4, 6]);
      for (const tensor of [x, tooMuch]) tensor.dispose();
      await device!.synchronize();
    },
  );

  it("says when it is lost under its work; another one can be opened", async () => {
    const adapter = (await (await findGpu()).requestAdapter())!;
    const gpuDevice = await adapter.requestDevice();
    const lost = new WebgpuDevice({ device: gpuDevice, info: adapter.info, tier: "f32" });
    const [x, out] = [lost.tensor(Float32Array.of(1, 2), [2]), lost.empty([2])];
    lost.ops.add({ x, y: x, out });
    const reading = out.read();
    gpuDevice.destroy();
    const message = /^device: the GPU and all tensors on it are lost.* Open the device again \(lost: destroyed\)\.$/;
    await expect(reading).rejects.toThrow(DeviceError);
    await expect(lost.synchronize()).rejects.toThrow(message);
    expect(() => lost.ops.add({ x, y: x, out })).toThrow(message);
    for (const tensor of [x, out]) tensor.dispose();
    lost.dispose();
    const again = await openWebgpuDevice();
    expect([...(await again.tensor(Float32Array.of(5), [1]).read())]).toEqual([5]);
    again.dispose();
  });

  it("throws a DeviceError from every call after it is disposed of", async () => {
    const other = await openWebgpuDevice();
    const x = other.zeros([4]);
    other.dispose();
    expect(() => other.ops.fill({ out: x, value: 1 })).toThrow(DeviceError);
    await expect(other.synchronize()).rejects.toThrow(DeviceError);
    await expect(x.read()).rejects.toThrow(DeviceError);
    other.dispose();
  });
});

describe.skipIf(!device)("the WebGPU runtime", () => {
  let runtime: WebgpuRuntime;
  beforeAll(async () => {
    const adapter = await (await findGpu()).requestAdapter();
    runtime = new WebgpuRuntime(await adapter!.requestDevice(), "f32");
  });
  afterAll(() => runtime.dispose(new DeviceError("device", "disposed", "the test is over")));

  it("says which kernel did not compile, and not what came of it", async () => {
    const out = { storage: runtime.allocate(4), dtype: "u32", strides: [1], offset: 0 } as const;
    // Without the constant that the kernel is specialised by.
    runtime.launch({ file: "fill" }, { groups: 1, writes: { out }, numbers: { count: u32(1), value: u32(0) } });
    const error = await runtime.idle().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(KernelCompileError);
    expect(error).toMatchObject({ kernel: "fill.wgsl", source: expect.stringContaining("fn fill(") });
    expect((error as Error).message).toContain("THREADS");
    expect(() => runtime.allocate(4)).toThrow(KernelCompileError);
  });
});
