import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openWebgpuOrSay } from "../../../test/swiftShader.ts";
import { attention } from "../../attention.ts";
import { DeviceError, DTypeError, ShapeError, UnsupportedError } from "../../errors.ts";
import { pattern } from "../../pattern/index.ts";
import { openReferenceDevice } from "../../reference/device.ts";
import type { Tensor } from "../../tensor.ts";
import { openCpuDevice } from "../cpu/index.ts";
import { findGpu } from "./dawn.ts";
import { fromGPUBuffer, toGPUBuffer } from "./gpu_buffers.ts";
import { deviceDescriptor, openWebgpuDevice, type WebgpuDevice } from "./index.ts";

const probe = await openWebgpuOrSay();
probe?.dispose();

/** What GPUBufferUsage calls them; Node has no such global. */
const [mapRead, copySource, copyTarget, storage] = [0x1, 0x4, 0x8, 0x80];
const shareable = copySource | copyTarget | storage;

describe.skipIf(!probe)("a GPUDevice that is shared", () => {
  let gpu: GPUDevice;
  let device: WebgpuDevice;
  beforeAll(async () => {
    const adapter = (await (await findGpu()).requestAdapter())!;
    gpu = await adapter.requestDevice(deviceDescriptor(adapter, { tier: "f32" }));
    device = await openWebgpuDevice({ device: gpu });
  });
  afterAll(() => gpu.destroy());

  /** A buffer as another library makes it. */
  function theirs(values: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>, usage = shareable): GPUBuffer {
    const buffer = gpu.createBuffer({ size: values.byteLength, usage });
    if (usage & copyTarget) gpu.queue.writeBuffer(buffer, 0, values);
    return buffer;
  }

  /** Its bytes, read as another library reads them. */
  async function contents(buffer: GPUBuffer, offsetBytes: number, bytes: number): Promise<number[]> {
    const staging = gpu.createBuffer({ size: bytes, usage: mapRead | copyTarget });
    const commands = gpu.createCommandEncoder();
    commands.copyBufferToBuffer(buffer, offsetBytes, staging, 0, bytes);
    gpu.queue.submit([commands.finish()]);
    await staging.mapAsync(1);
    const values = [...new Float32Array(staging.getMappedRange())];
    staging.destroy();
    return values;
  }

  it("lends buffers as tensors: what either writes the other reads", async () => {
    const buffer = theirs(Float32Array.of(1, 2, 3, 4, 5, 6));
    const x = fromGPUBuffer(device, buffer, [2, 2], "f32", { offsetBytes: 8 });
    expect([...(await x.read())]).toEqual([3, 4, 5, 6]);
    device.ops.add({ x, y: x, out: x });
    device.flush();
    expect(await contents(buffer, 0, 24)).toEqual([1, 2, 6, 8, 10, 12]);
    gpu.queue.writeBuffer(buffer, 8, Float32Array.of(-1, -2));
    expect([...(await x.read())]).toEqual([-1, -2, 10, 12]);
  });

  it("borrows tensors' buffers, with what was enqueued before in them", async () => {
    const x = device.tensor(Float32Array.of(1, 2, 3, 4), [2, 2]);
    device.ops.add({ x, y: x, out: x });
    const { buffer, offsetBytes, bytes } = toGPUBuffer(x.slice(0, 1, 1));
    expect([offsetBytes, bytes]).toEqual([8, 8]);
    expect(await contents(buffer, offsetBytes, bytes)).toEqual([6, 8]);
    x.dispose();
  });

  it("never gives a lent buffer to another tensor, nor destroys it", async () => {
    const before = device.memory.bytes;
    const buffer = theirs(new Float32Array(64).fill(7));
    fromGPUBuffer(device, buffer, [64]).dispose();
    const others = Array.from({ length: 8 }, () => device.zeros([64]));
    device.flush();
    expect(new Set(await contents(buffer, 0, 256))).toEqual(new Set([7]));
    for (const other of others) other.dispose();
    expect(device.memory.bytes).toBe(before);
  });

  it("computes attention of lent buffers", async () => {
    const shape = [1, 5, 2, 16];
    const values = ["q", "k", "v"].map((_, n) => Float32Array.from({ length: 160 }, (_, i) => Math.sin(i * (n + 2))));
    const compute = async (tensors: Tensor[]) => {
      const { o, dispose } = attention(tensors[0]!, tensors[1]!, tensors[2]!, { pattern: pattern.window(3) });
      dispose();
      return o.read();
    };
    const got = await compute(values.map((each) => fromGPUBuffer(device, theirs(each), shape)));
    const [exact, plain] = await Promise.all(
      (["f64", "f32"] as const).map((precision) => {
        const reference = openReferenceDevice({ precision });
        return compute(values.map((each) => reference.tensor(each, shape)));
      }),
    );
    const worst = (o: Float32Array) => Math.max(...o.map((value, i) => Math.abs(value - exact![i]!)));
    const largest = Math.max(...exact!.map(Math.abs));
    expect(worst(got)).toBeLessThanOrEqual(2 * worst(plain!) + 1e-6 * largest);
  });

  it("refuses what does not fit, with the rule and what it got", () => {
    const buffer = theirs(new Float32Array(8));
    const from = (...args: unknown[]) => (fromGPUBuffer as (...args: unknown[]) => unknown)(device, ...args);
    expect(() => from(buffer, [3, 3])).toThrow(/\[3,3\] needs a buffer of 36 bytes, got 32/);
    expect(() => from(buffer, [2], "f32", { offsetBytes: 28 })).toThrow(ShapeError);
    expect(() => from(buffer, [2], "f32", { offsetBytes: 2 })).toThrow(/multiple of 4, the bytes of f32, got 2/);
    expect(() => from(buffer, [2], "f32", { offsetBytes: -4 })).toThrow(ShapeError);
    expect(() => from(buffer, [1.5])).toThrow(/whole numbers >= 0, got \[1.5\]/);
    expect(() => from(buffer, [2], "f16")).toThrow(/one of f32, i32, got f16/);
    expect(() => from(buffer, [2], "f16")).toThrow(DTypeError);
    const flags = /usage must be STORAGE \| COPY_SRC \| COPY_DST, got STORAGE \| COPY_DST/;
    expect(() => from(theirs(new Float32Array(8), storage | copyTarget), [8])).toThrow(flags);
    const mapped = gpu.createBuffer({ size: 32, usage: shareable, mappedAtCreation: true });
    expect(() => from(mapped, [8])).toThrow(UnsupportedError);
    expect(() => from(gpu.createBuffer({ size: 30, usage: shareable }), [7])).toThrow(/multiple of 4 bytes, got 30/);
  });

  it("refuses to lend what is no tensor of the GPU, or no longer one", async () => {
    const cpu = await openCpuDevice({ threads: 1 });
    expect(() => toGPUBuffer(cpu.zeros([4]))).toThrow(/must be a WebGPU device's, got cpu/);
    cpu.dispose();
    const x = device.zeros([4, 4]);
    expect(() => toGPUBuffer(x.slice(1, 0, 2))).toThrow(/must be contiguous/);
    x.dispose();
    expect(() => toGPUBuffer(x)).toThrow(/disposed of/);
  });

  it("outlives the tensors' device, which gives its own memory back", async () => {
    const other = await openWebgpuDevice({ device: gpu });
    const buffer = theirs(Float32Array.of(1, 2));
    const x = other.tensor(Float32Array.of(3, 4), [2]);
    const lent = fromGPUBuffer(other, buffer, [2]);
    other.ops.add({ x, y: lent, out: lent });
    other.flush();
    other.dispose();
    expect(await contents(buffer, 0, 8)).toEqual([4, 6]);
    expect(() => fromGPUBuffer(other, buffer, [2]).device.ops.fill({ out: lent, value: 0 })).toThrow(DeviceError);
    expect([...(await device.tensor(Float32Array.of(5), [1]).read())]).toEqual([5]);
  });

  it("is lost to the tensors' device when its owner destroys it", async () => {
    const adapter = (await (await findGpu()).requestAdapter())!;
    const owned = await adapter.requestDevice();
    const other = await openWebgpuDevice({ device: owned });
    const x = other.zeros([4]);
    await x.read();
    owned.destroy();
    await owned.lost;
    await expect(x.read()).rejects.toThrow(/^device: .* \(lost: destroyed\)\.$/);
    expect(() => other.zeros([4])).toThrow(DeviceError);
    other.dispose();
  });
});
