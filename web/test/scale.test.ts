import { expect, test } from "vitest";
import { fits, scaleOf } from "../src/ui/scale.ts";

const pixels = { from: 0, to: 100 };

test("a linear scale is widened to ticks of 1, 2 or 5, which stand at its ends", () => {
  const { ticks, place } = scaleOf({ isLog: false }, { values: [0.13, 9.4, 3], ...pixels });
  expect(ticks).toEqual([0, 2, 4, 6, 8, 10]);
  expect([place(0), place(5), place(10)]).toEqual([0, 50, 100]);
});

test("a logarithmic scale has powers of its base", () => {
  const { ticks, place } = scaleOf({ isLog: true, base: 2 }, { values: [256, 1024, 4096], ...pixels });
  expect(ticks).toEqual([256, 512, 1024, 2048, 4096]);
  expect(place(1024)).toBeCloseTo(50, 9);
  expect(scaleOf({ isLog: true }, { values: [0.5, 700], ...pixels }).ticks).toEqual([0.1, 1, 10, 100, 1000]);
});

test("one value, or none, has a scale all the same", () => {
  for (const isLog of [true, false]) {
    for (const values of [[], [7]]) {
      const { ticks, place } = scaleOf({ isLog }, { values, ...pixels });
      expect(ticks.length).toBeGreaterThanOrEqual(2);
      for (const value of values) expect(place(value)).toBeGreaterThanOrEqual(0);
    }
  }
  expect([fits({ isLog: true }, 0), fits({ isLog: false }, 0), fits({ isLog: false }, Number.NaN)]).toEqual([
    false,
    true,
    false,
  ]);
});
