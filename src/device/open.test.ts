import { describe, expect, test } from "vitest";
import { UnsupportedError } from "../errors.ts";
import { openDevice, surveyDevices } from "./open.ts";

describe("openDevice", () => {
  test("auto opens what is there and says once what was opened and what was passed over", async () => {
    const lines: string[] = [];
    const device = await openDevice("auto", { threads: 1, log: (line) => lines.push(line) });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(device.description);
    expect(lines[0]).toContain("cuda: ");
    device.dispose();
  });

  test("a device by name is never replaced by another", async () => {
    await expect(openDevice("cuda")).rejects.toThrow(/got "cuda"\. Use "cpu"\./);
  });

  test("a name that is none lists those that are", async () => {
    await expect(openDevice("tpu" as never)).rejects.toThrow(UnsupportedError);
    await expect(openDevice("tpu" as never)).rejects.toThrow(/one of "auto", "cuda", "webgpu", "cpu", got "tpu"/);
  });

  test("the options of a device are checked by the device", async () => {
    await expect(openDevice("cpu", { threads: 0 })).rejects.toThrow(/threads must be a whole number >= 1, got 0/);
    await expect(openDevice("auto", { threads: 0 })).rejects.toThrow(/threads/);
  });

  test("a survey names every kind, with a reason where it is not there", async () => {
    const found = await surveyDevices({ threads: 1 });
    expect(found.map(({ name, found }) => [name, found])).toEqual([
      ["cuda", false],
      ["webgpu", false],
      ["cpu", true],
    ]);
    for (const { detail } of found) expect(detail).toMatch(/\w/);
  });
});
