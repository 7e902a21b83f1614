import { describe, expect, it } from "vitest";
import { deriveSeed, lshRotations, normalAt, threefry2x32, uniformAt } from "./rng.ts";

describe("threefry2x32-20", () => {
  it("gives the known answers published with Random123", () => {
    const cases: [[number, number], [number, number], [number, number]][] = [
      [
        [0, 0],
        [0, 0],
        [0x6b200159, 0x99ba4efe],
      ],
      [
        [0xffffffff, 0xffffffff],
        [0xffffffff, 0xffffffff],
        [0x1cb996fc, 0xbb002be7],
      ],
      [
        [0x13198a2e, 0x03707344],
        [0x243f6a88, 0x85a308d3],
        [0xc4923a9c, 0x483df7a0],
      ],
    ];
    for (const [key, counter, words] of cases) expect([...threefry2x32(key, counter)]).toEqual(words);
  });
});

describe("draws by counter", () => {
  const draws = (count: number, draw: (i: number) => number): number[] =>
    Array.from({ length: count }, (_, i) => draw(i));
  const moment = (values: number[], power: number): number =>
    values.reduce((total, x) => total + x ** power, 0) / values.length;

  it("uniform draws fill (0, 1) evenly", () => {
    const values = draws(20_000, (i) => uniformAt(7, 1, i));
    expect(Math.min(...values)).toBeGreaterThan(0);
    expect(Math.max(...values)).toBeLessThan(1);
    expect(moment(values, 1)).toBeCloseTo(1 / 2, 2);
    expect(moment(values, 2)).toBeCloseTo(1 / 3, 2);
  });

  it("normal draws have the moments of the normal distribution", () => {
    const values = draws(40_000, (i) => normalAt(7, 2, i));
    expect(Math.abs(moment(values, 1))).toBeLessThan(0.02);
    expect(Math.abs(moment(values, 2) - 1)).toBeLessThan(0.03);
    expect(Math.abs(moment(values, 4) - 3)).toBeLessThan(0.2);
  });

  it("streams, indices beyond 32 bits, steps and layers all draw apart", () => {
    const seen = new Set([
      uniformAt(1, 0, 5),
      uniformAt(1, 1, 5),
      uniformAt(2, 0, 5),
      uniformAt(1, 0, 5 + 2 ** 32),
      ...draws(100, (i) => deriveSeed(1, i, 3)),
      ...draws(100, (i) => deriveSeed(1, 3, i + 200)),
    ]);
    expect(seen.size).toBe(204);
    expect(deriveSeed(1, 4, 2)).toBe(deriveSeed(1, 4, 2));
  });
});

describe("lshRotations", () => {
  it("gives each head columns of length 1, drawn by the seed alone", () => {
    const [H, D, buckets] = [3, 16, 10];
    const rotations = lshRotations({ seed: 9, H, D, buckets });
    expect(rotations.length).toBe((H * D * buckets) / 2);
    for (let h = 0; h < H; h++) {
      for (let c = 0; c < buckets / 2; c++) {
        let squares = 0;
        for (let d = 0; d < D; d++) squares += rotations[(h * D + d) * (buckets / 2) + c] ** 2;
        expect(squares).toBeCloseTo(1, 6);
      }
    }
    expect(lshRotations({ seed: 9, H, D, buckets })).toEqual(rotations);
    expect(lshRotations({ seed: 10, H, D, buckets })).not.toEqual(rotations);
  });
});
