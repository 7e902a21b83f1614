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
    for (const { building, forward, backward, check } of measurements) {
      expect([building.allMs, forward.allMs]).toEqual([[expect.any(Number)], [expect.any(Number)]]);
      expect(backward!.medianMs).toBeGreaterThan(0);
      expect(check.forward).toMatchObject({ pass: true });
      expect(check.backward).toMatchObject({ pass: true });
    }
    expect(measurements[0]!.visibleShare).toBe(1);
    expect(measurements[1]!.visibleShare).toBeLessThan(0.8);
  });

  test("with shared buckets keys are not hashed, every query sees itself, and drop is left as it is", async () => {
    const device = openReferenceDevice({ precision: "f32" });
    let hashed = 0;
    const { lshBuckets } = device.ops;
    device.ops.lshBuckets = (args) => {
      hashed++;
      lshBuckets(args);
    };
    const [apart] = (await bench(device, { patterns: ["hash(16)"] })).measurements;
    const hashedApart = hashed;
    hashed = 0;
    const patterns = ["hash(16)", "drop(0.5)"];
    const [together, dropped] = (await bench(device, { patterns, sharedQK: true })).measurements;
    expect(2 * hashed).toBe(hashedApart);
    expect([apart!.sharedQK, together!.sharedQK]).toEqual([false, true]);
    for (const { check } of [together!, dropped!]) {
      expect(check.forward).toMatchObject({ pass: true });
      expect(check.backward).toMatchObject({ pass: true });
    }
    // 40 positions: 1 of 20.5 pairs is a query's own, and one of 16 of the others shares its bucket.
    expect(together!.visibleShare).toBeGreaterThan(apart!.visibleShare);
    expect(dropped!.visibleShare).toBeLessThan(0.5);
    await expect(bench(device, { shape: { ...shape, Hk: 1 }, sharedQK: true })).rejects.toThrow(
      "bench: queries and keys that share buckets have as many heads, got H=2, Hk=1.",
    );
  });

  test("what is timed is a recording of each pass, replayed", async () => {
    const device = openReferenceDevice({ precision: "f32" });
    let [recorded, replayed] = [0, 0];
    const { record } = device;
    device.record = (run) => {
      recorded++;
      const inner = record.call(device, run);
      const replay = () => {
        replayed++;
        inner.replay();
      };
      return { replay, dispose: () => inner.dispose() };
    };
    await bench(device, { patterns: ["dense"], rounds: 3 });
    // Two unmeasured, three measured, one to check: building, forward and backward, of which building is not checked alone.
    expect([recorded, replayed]).toEqual([3, 17]);
    expect(device.memory.bytes).toBe(0);
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

  test("a device that computes in bf16 gets inputs of bf16 and a budget of bf16", async () => {
    const device = openReferenceDevice({ precision: "f32" });
    const capabilities = { ...device.capabilities, floatTypes: ["bf16"] };
    Object.defineProperty(device, "capabilities", { value: capabilities });
    const { measurements } = await bench(device, {
      patterns: ["hash(4)"],
      openDevice: async () => {
        const other = openReferenceDevice({ precision: "f32" });
        Object.defineProperty(other, "capabilities", { value: capabilities });
        return other;
      },
    });
    const { dtype, check, backwardGflops } = measurements[0]!;
    expect(dtype).toBe("bf16");
    expect(check.forward).toMatchObject({ pass: true });
    expect(check.backward).toMatchObject({ pass: true });
    expect(check.forward.budget).toBeGreaterThan(1e-4);
    expect(backwardGflops).toBeGreaterThan(0);
  });

  test("a peer and ours are timed by the same clock, several runs in a row, and checked alike", async () => {
    const rows: number[] = [];
    const zeros = {
      name: "zeros 1.0",
      timed: "nothing",
      time: async (runs: number) => {
        rows.push(runs);
        return 20 * runs;
      },
      output: async () => new Float32Array(40 * 2 * 16),
      close: async () => {},
    };
    const device = openReferenceDevice({ precision: "f32" });
    const { peer, measurements } = await bench(device, {
      patterns: ["dense"],
      rounds: 2,
      openPeer: async () => zeros,
    });
    expect(peer).toMatchObject({ name: "zeros 1.0", timed: "nothing", check: { pass: false } });
    // One run tells that three make up a row: two rounds unmeasured, two measured.
    expect(rows).toEqual([1, 3, 1, 3, 1, 3, 1, 3]);
    expect(peer!.forward.allMs).toEqual([20, 20]);
    expect(measurements[0]!.besidePeer!.allMs).toHaveLength(2);
    expect((await bench(device, { patterns: ["dense"] })).measurements[0]!.besidePeer).toBeNull();
  });
});
