import { describe, expect, test } from "vitest";
import { openReferenceDevice } from "../reference/device.ts";
import { roundTo } from "../reference/memoryOps.ts";
import { checkSample, drawSample } from "./check.ts";
import { BenchInputs } from "./inputs.ts";

/** q is longer than the block that is drawn; k and v are not. */
const shape = { B: 2, Tq: 2200, Tk: 2200, H: 4, Hk: 2, D: 64 };

describe("BenchInputs", () => {
  const inputs = new BenchInputs(shape, "bf16");

  test("has values of its type, and the same ones as an array, as rows and on a device", async () => {
    const all = inputs.all("q");
    expect(all).toHaveLength(2 * 2200 * 4 * 64);
    expect(all.subarray(0, 1000).every((x) => roundTo(x, "bf16") === x)).toBe(true);
    const rows = inputs.rows("q", { b: 1, rows: [7, 2199], firstHead: 2, headCount: 2 });
    const at = (b: number, t: number, h: number) => all.subarray(((b * 2200 + t) * 4 + h) * 64).subarray(0, 128);
    expect([...rows]).toEqual([...at(1, 7, 2), ...at(1, 2199, 2)]);
    const tensor = inputs.upload(openReferenceDevice(), "q");
    expect(tensor.shape).toEqual([2, 2200, 4, 64]);
    expect((await tensor.read()).every((x, i) => x === all[i])).toBe(true);
  });

  test("has no two equal rows in a head", () => {
    const everyRow = Array.from({ length: 2200 }, (_, t) => t);
    const head = inputs.rows("q", { b: 1, rows: everyRow, firstHead: 3, headCount: 1 });
    expect(new Set(everyRow.map((t) => head.subarray(t * 64, (t + 1) * 64).join())).size).toBe(2200);
  });
});

describe("a sample", () => {
  test("takes all heads of a small call, some of a large one, and always the last row", () => {
    const small = drawSample(new BenchInputs({ ...shape, Tq: 50, Tk: 50 }, "f32"));
    expect(small.heads).toEqual([0, 1].flatMap((b) => [0, 1].map((keyHead) => ({ b, keyHead }))));
    const large = drawSample(new BenchInputs({ B: 4, Tq: 16384, Tk: 16384, H: 48, Hk: 48, D: 64 }, "bf16"));
    expect(large.heads.length).toBeGreaterThan(1);
    expect(large.heads.length).toBeLessThan(10);
    expect(large.rows.at(-1)).toBe(16383);
    expect(new Set(large.heads.map(({ b, keyHead }) => b * 48 + keyHead)).size).toBe(large.heads.length);
  });

  test("of grouped key heads judges the query heads that read them", async () => {
    const inputs = new BenchInputs({ B: 1, Tq: 1, Tk: 1, H: 4, Hk: 2, D: 16 }, "f32");
    const v = inputs.all("v");
    const mask = () => true;
    // One row sees one key: o is v of its key head.
    const right = async (_: string, { keyHead }: { keyHead: number }) => {
      const row = v.subarray(keyHead * 16, (keyHead + 1) * 16);
      return Float32Array.from([...row, ...row]);
    };
    const wrong = async (name: string, { b, keyHead }: { b: number; keyHead: number }) =>
      right(name, { keyHead: b + 1 - keyHead });
    const sample = drawSample(inputs);
    const judge = async (read: typeof wrong) =>
      (await checkSample({ inputs, sample, mask }, read, { gradients: false })).forward.pass;
    expect(await judge(right)).toBe(true);
    expect(await judge(wrong)).toBe(false);
  });
});
