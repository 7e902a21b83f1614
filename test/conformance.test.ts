import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { conformanceCases } from "../src/conformance/index.ts";
import { openCpuDevice } from "../src/device/cpu/index.ts";
import type { Device } from "../src/device/device.ts";

const devices: [string, () => Promise<Device>][] = [
  ["cpu", () => openCpuDevice()],
  ["cpu without relaxed SIMD, on one thread", () => openCpuDevice({ simd: "simd", threads: 1 })],
];

describe.each(devices)("%s", (_, open) => {
  let device: Device;
  let bytesBefore = 0;
  beforeAll(async () => {
    device = await open();
    bytesBefore = device.memory.bytes;
  });
  afterAll(() => device.dispose());

  it.each(conformanceCases.map((c) => [c.name, c] as const))("%s", async (_, conformanceCase) => {
    const verdict = await conformanceCase.run(device);
    expect(verdict, JSON.stringify(verdict)).toMatchObject({ pass: true });
    expect(device.memory.bytes).toBe(bytesBefore);
  });
});
