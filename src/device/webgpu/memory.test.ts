import { afterAll, beforeAll, expect, it } from "vitest";
import { create } from "webgpu";
import { DeviceError } from "../../errors.ts";
import type { Tensor } from "../../tensor.ts";
import { WebgpuDevice } from "./index.ts";

/**
 * Dawn's null backend computes and copies nothing, but it has 512 MiB, so no machine's own memory decides these tests. That
 * values are right after a refusal is runtime.test.ts's claim.
 */
const gpu = create(["backend=null"]) as unknown as GPU;
const mebibyte = 2 ** 20;

let device: WebgpuDevice;
let held: Tensor[];
beforeAll(async () => {
  const adapter = (await gpu.requestAdapter())!;
  device = new WebgpuDevice({ info: adapter.info, tier: "f32", device: await adapter.requestDevice() });
  held = Array.from({ length: 3 }, () => device.empty([32 * mebibyte]));
  await device.synchronize();
});
afterAll(() => {
  device.dispose();
  // Dawn's threads end with what `create` returned.
  void gpu;
});

const refusal =
  "allocate: 128 MiB must fit into the GPU's memory beside the 384 MiB of tensors, and do not. " +
  "Use a smaller batch or context, or dispose of tensors (out of memory).";

/** The device takes work, and none of it fails. */
async function expectToWork(): Promise<void> {
  const values = device.tensor(Float32Array.of(3, 1, 2), [3]);
  device.ops.add({ x: values, y: values, out: values });
  await values.read();
  await device.synchronize();
  values.dispose();
}

it("says how much memory was wanted, beside how much, to each call that waits then, and goes on", async () => {
  const before = device.memory.bytes;
  const tooMuch = [device.empty([32 * mebibyte]), device.empty([32 * mebibyte])];
  for (const out of [...tooMuch, held[0]!]) device.ops.fill({ out, value: 1 });
  const waiting = await Promise.allSettled([device.synchronize(), held[0]!.read()]);
  for (const call of waiting) {
    const { reason } = call as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(DeviceError);
    expect((reason as Error).message).toBe(refusal);
  }
  await expectToWork();
  for (const tensor of tooMuch) tensor.dispose();
  expect(device.memory.bytes).toBe(before);
});

it("says it again to whoever uses such a tensor, until it is disposed of", async () => {
  const tooMuch = device.empty([32 * mebibyte]);
  await expect(device.synchronize()).rejects.toThrow(refusal);
  for (let n = 0; n < 2; n++) {
    await expect(tooMuch.read()).rejects.toThrow(refusal);
    device.ops.add({ x: held[0]!, y: tooMuch, out: held[1]! });
    await expect(device.synchronize()).rejects.toThrow(refusal);
  }
  await expectToWork();
  tooMuch.dispose();
  await expectToWork();
});

it("gives refused memory to no other tensor", async () => {
  device.empty([32 * mebibyte]).dispose();
  await expect(device.synchronize()).rejects.toThrow(refusal);
  // Not that buffer again, but a new one, and so a new refusal.
  const again = device.empty([32 * mebibyte]);
  await expect(device.synchronize()).rejects.toThrow(refusal);
  again.dispose();
  // Of tensors that were there before, it does.
  held.pop()!.dispose();
  held.push(device.empty([32 * mebibyte]));
  device.ops.fill({ out: held.at(-1)!, value: 1 });
  await expectToWork();
});
