import { describe, expect, test } from "vitest";
import type { Device } from "../device/device.ts";
import { openReferenceDevice } from "../reference/device.ts";
import { type AttentionBenchOptions, benchAttention } from "./attention.ts";

const shape = { B: 1, T: 40, H: 2, Hk: 2, D: 16 };

function bench(device: Device, more: Partial<AttentionBenchOptions> = {}) {
  return benchAttention({
    shape,
    patterns: ["dense", "hash(4)", "drop(0.5)", "window(8):1 hash(4):1"],
    rounds: 1,
    backward: true,
    device,
    openDevice: async () => openReferenceDevice({ precision: "f32" }),
    openPeer: async () => null,
    ...more,
  });
}

describe("benchAttention", () => {
  test("measures forward and backward of each pattern, and finds them correct", async () => {
    const { measurements, peer } = await bench(openReferenceDevice({ precision: "f32" }));
    expect(peer).toBeNull();
    expect(measurements.map(({ pattern }) => pattern)).toEqual([
      "dense",
      "hash(4)",
      "drop(0.5)",
      "window(8):1 hash(4):1",
    ]);
    for (const { forward, backward, check } of measurements) {
      expect(forward.allMs).toHaveLength(1);
      expect(backward!.medianMs).toBeGreaterThan(0);
      expect(check.forward).toMatchObject({ pass: true });
      expect(check.backward).toMatchObject({ pass: true });
    }
    expect(measurements[0]!.visibleShare).toBe(1);
    expect(measurements[1]!.visibleShare).toBeLessThan(0.8);
  });

  test("a device that gives wrong values is found out, in the pass that is wrong", async () => {
    const device = openReferenceDevice({ precision: "f32" });
    const { attentionBackward } = device.ops;
    const spoiled = {
      ...device.ops,
      attentionBackward: (args: Parameters<typeof attentionBackward>[0]) =>
        attentionBackward({ ...args, scale: args.scale * 1.001 }),
    };
    Object.defineProperty(device, "ops", { value: spoiled });
    const { measurements } = await bench(device, { patterns: ["dense"] });
    expect(measurements[0]!.check.forward.pass).toBe(true);
    expect(measurements[0]!.check.backward!.pass).toBe(false);
  });

  test("a peer is timed on the same inputs and checked like ours", async () => {
    let runs = 0;
    const zeros = {
      name: "zeros 1.0",
      run: async () => {
        runs++;
        return new Float32Array(40 * 2 * 16);
      },
      close: async () => {},
    };
    const { peer } = await bench(openReferenceDevice(), {
      patterns: ["dense"],
      rounds: 2,
      openPeer: async () => zeros,
    });
    expect(peer).toMatchObject({ name: "zeros 1.0", check: { pass: false } });
    // One unmeasured, two measured, one to check.
    expect(runs).toBe(4);
  });
});
