import { afterEach, describe, expect, test, vi } from "vitest";
import { useSwiftShader } from "../../test/swiftShader.ts";
import { UnsupportedError } from "../errors.ts";
import type { Device } from "./device.ts";
import { openDevice, surveyDevices } from "./open.ts";

useSwiftShader();

/** Whether NVIDIA's driver is hidden, so that this machine is as one without. */
const driver = vi.hoisted(() => ({ isHidden: false }));
vi.mock("./cuda/libraries.ts", async (importOriginal) => {
  const real = await importOriginal<typeof import("./cuda/libraries.ts")>();
  const loadsNothing = {
    load() {
      throw new Error("cannot open shared object file");
    },
  };
  const findDriver: typeof real.findDriver = (koffi) =>
    real.findDriver(driver.isHidden ? (loadsNothing as unknown as typeof koffi) : koffi);
  return { ...real, findDriver };
});
afterEach(() => {
  driver.isHidden = false;
});

const noDriver = /^openDevice: the NVIDIA driver must be there, got no \S+ here\. Install the NVIDIA driver/;

describe("openDevice", () => {
  test("auto opens what is there and says once what was opened and what was passed over", async () => {
    const lines: string[] = [];
    const device = await openDevice("auto", { threads: 1, log: (line) => lines.push(line) });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(`device: ${device.description}`);
    expect(lines[0]!.includes("; cuda: ")).toBe(!device.description.startsWith("cuda"));
    device.dispose();
  });

  test("auto passes over a GPU without a driver, and says so", async () => {
    driver.isHidden = true;
    const lines: string[] = [];
    const device = await openDevice("auto", { threads: 1, log: (line) => lines.push(line) });
    expect(device.description).not.toMatch(/^cuda /);
    expect(lines[0]).toMatch(/^device: (cpu|webgpu) .*; cuda: openDevice: the NVIDIA driver must be there/);
    device.dispose();
  });

  test("auto passes over a GPU in software, which opens by name", async ({ skip }) => {
    const byName = await openDevice("webgpu").catch((error: unknown) => error);
    if (byName instanceof Error || !`${(byName as Device).description}`.includes("in software")) skip();
    (byName as Device).dispose();
    driver.isHidden = true;
    const lines: string[] = [];
    const device = await openDevice("auto", { threads: 1, log: (line) => lines.push(line) });
    expect(device.description).toMatch(/^cpu /);
    expect(lines[0]).toMatch(/; webgpu: openDevice: the GPU must be one in hardware, got SwiftShader/);
    device.dispose();
  });

  test("a device by name is never replaced by another", async () => {
    driver.isHidden = true;
    await expect(openDevice("cuda")).rejects.toThrow(noDriver);
    await expect(openDevice("cuda")).rejects.toThrow(UnsupportedError);
  });

  test.each(["cuda", "webgpu"] as const)("%s by name opens, or says what it lacks", async (name) => {
    const found = await openDevice(name).catch((error: unknown) => error);
    if (found instanceof Error) {
      expect(found).toBeInstanceOf(UnsupportedError);
      expect(found.message).toMatch(/^openDevice: .+, got .+/);
    } else {
      const device = found as Awaited<ReturnType<typeof openDevice>>;
      expect(device.description).toContain(`${name} (`);
      device.dispose();
    }
  });

  test("a name that is none lists those that are", async () => {
    await expect(openDevice("tpu" as never)).rejects.toThrow(UnsupportedError);
    await expect(openDevice("tpu" as never)).rejects.toThrow(/one of "auto", "cuda", "webgpu", "cpu", got "tpu"/);
  });

  test("the options of a device are checked by the device", async () => {
    await expect(openDevice("cpu", { threads: 0 })).rejects.toThrow(/threads must be a whole number >= 1, got 0/);
    await expect(openDevice("webgpu", { tier: "f16" as never })).rejects.toThrow(/one of "f32", .*, got "f16"/);
  });

  test("a survey names every kind, with a reason where it is not there", async () => {
    const found = await surveyDevices({ threads: 1 });
    const of = (wanted: string) => found.find(({ name }) => name === wanted)!;
    expect(found.map(({ name }) => name)).toEqual(["cuda", "webgpu", "cpu"]);
    expect(of("cpu")).toMatchObject({ found: true, detail: expect.stringMatching(/^cpu \(1 thread/) });
    for (const name of ["cuda", "webgpu"]) {
      expect(of(name).detail).toMatch(of(name).found ? `${name} (` : /^openDevice: .+, got .+/);
    }
    driver.isHidden = true;
    const [cuda] = await surveyDevices({ threads: 1 });
    expect(cuda).toMatchObject({ name: "cuda", found: false, detail: expect.stringMatching(noDriver) });
  });
});
