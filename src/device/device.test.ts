import { describe, expect, it } from "vitest";
import { UnsupportedError } from "../errors.ts";
import { openReferenceDevice } from "../reference/device.ts";
import { openCpuDevice } from "./cpu/index.ts";
import type { Device } from "./device.ts";

const devices: [string, () => Promise<Device>][] = [
  ["reference", async () => openReferenceDevice()],
  ["cpu", () => openCpuDevice({ threads: 2 })],
];

describe.each(devices)("on the %s device", (_, open) => {
  it("a recording runs nothing until it is replayed, and then reads what its tensors hold by now", async () => {
    const device = await open();
    const [x, sum] = [device.zeros([4]), device.zeros([4])];
    const recording = device.record(() => {
      device.ops.add({ x, y: x, out: x });
      device.ops.add({ x: sum, y: x, out: sum });
    });
    expect([...(await sum.read())]).toEqual([0, 0, 0, 0]);
    for (const value of [1, 10]) {
      x.write(new Float32Array(4).fill(value));
      recording.replay();
    }
    expect([...(await sum.read())]).toEqual([22, 22, 22, 22]);
    recording.dispose();
    expect(() => recording.replay()).toThrow(UnsupportedError);
    expect(() => recording.replay()).toThrow("record: a recording in use must not be disposed, got a disposed one.");
    device.dispose();
  });

  it("time waits for the work before, runs once, and takes longer for more work", async () => {
    const device = await open();
    const [x, w, out] = [device.zeros([256, 64]), device.zeros([64, 64]), device.zeros([256, 64])];
    let runs = 0;
    const multiply = (times: number) => () => {
      runs++;
      for (let i = 0; i < times; i++) device.ops.linear({ x, w, out });
    };
    await device.time(multiply(1));
    expect(runs).toBe(1);
    const once = Math.min(...[await device.time(multiply(1)), await device.time(multiply(1))]);
    expect(await device.time(multiply(40))).toBeGreaterThan(once);
    device.dispose();
  });
});
