import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { HostStaircase } from "../staircase/staircase.ts";
import { countTiles } from "../staircase/tiles.ts";
import { drawGrid, drawStaircase, shade, visibilityGrid } from "./attentionPicture.ts";

const identity = (n: number) => Int32Array.from({ length: n }, (_, i) => i);
const dense = (T: number): HostStaircase => ({
  qRows: identity(T),
  kRows: identity(T),
  lo: identity(T).map(() => 0),
  hi: identity(T).map((n) => n + 1),
});

/** Any staircase: visit orders shuffled, bounds that never decrease, empty rows among them. */
const anyStaircase: fc.Arbitrary<HostStaircase> = fc
  .tuple(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 1, max: 24 }))
  .chain(([Tq, Tk]) => {
    const bound = fc
      .array(fc.integer({ min: 0, max: Tk }), { minLength: Tq, maxLength: Tq })
      .map((list) => list.sort((a, b) => a - b));
    const order = (n: number) => fc.shuffledSubarray([...identity(n)], { minLength: n });
    return fc.tuple(order(Tq), order(Tk), bound, bound).map(([qRows, kRows, a, b]) => ({
      qRows: Int32Array.from(qRows),
      kRows: Int32Array.from(kRows),
      lo: Int32Array.from(a, (x, n) => Math.min(x, b[n]!)),
      hi: Int32Array.from(b),
    }));
  });

describe("visibilityGrid", () => {
  test("with a cell for each pair it is the mask itself", () => {
    fc.assert(
      fc.property(anyStaircase, (s) => {
        fc.pre(s.qRows.length === s.kRows.length);
        const T = s.qRows.length;
        const expected = new Float32Array(T * T);
        for (let n = 0; n < T; n++) {
          for (let m = s.lo[n]!; m < s.hi[n]!; m++) expected[s.qRows[n]! * T + s.kRows[m]!] = 1;
        }
        expect(visibilityGrid([s], { cells: T }).share).toEqual(expected);
      }),
    );
  });

  test("cells hold the share of their pairs that is visible", () => {
    const { share } = visibilityGrid([dense(4)], { cells: 2 });
    expect([...share]).toEqual([0.75, 0, 1, 0.75]);
  });

  test("a range shows only its rows", () => {
    const { share } = visibilityGrid([dense(100)], { cells: 3, range: { first: 97, count: 3 } });
    expect([...share]).toEqual([1, 0, 0, 1, 1, 0, 1, 1, 1]);
  });

  test("the two parts of a union fill one grid", () => {
    const T = 4;
    const self = { ...dense(T), lo: identity(T) };
    const before = { ...dense(T), hi: identity(T) };
    expect(visibilityGrid([self, before], { cells: T })).toEqual(visibilityGrid([dense(T)], { cells: T }));
  });
});

describe("drawing", () => {
  test("draws as many partial and full tiles as a kernel visits", () => {
    fc.assert(
      fc.property(anyStaircase, fc.integer({ min: 1, max: 8 }), (s, tile) => {
        const [partial, full] = drawStaircase(s, { tile, label: "x" })
          .split("<path")
          .slice(1, 3)
          .map((path) => {
            const boxes = [...path.matchAll(/h(\d+)v/g)];
            return boxes.reduce((tiles, [, width]) => tiles + Math.ceil(Number(width) / tile), 0);
          });
        const { partial: masked, full: unmasked } = countTiles(s, { Tk: s.kRows.length, blockM: tile, blockN: tile });
        expect({ partial, full }).toEqual({ partial: masked, full: unmasked });
      }),
    );
  });

  test("a tile of a picture lies inside the picture", () => {
    fc.assert(
      fc.property(anyStaircase, fc.integer({ min: 1, max: 8 }), (s, tile) => {
        const svg = drawStaircase(s, { tile, label: "x" });
        for (const [, x, y, w, h] of svg.matchAll(/M(\d+) (\d+)h(\d+)v(\d+)/g)) {
          expect(Number(x) + Number(w)).toBeLessThanOrEqual(s.kRows.length);
          expect(Number(y) + Number(h)).toBeLessThanOrEqual(s.lo.length);
        }
      }),
    );
  });

  test("neighbouring cells of one shade become one rectangle", () => {
    const svg = drawGrid({ cells: 3, share: Float32Array.of(1, 1, 0, 0, 0, 0, 0, 0, 1) }, "x");
    expect(svg.match(/M0 0h2v1h-2z/g)).toHaveLength(1);
    expect(svg.match(/M2 2h1v1h-1z/g)).toHaveLength(1);
  });

  test("only a cell without a visible pair is left empty, and more is darker", () => {
    expect(shade(0)).toBe(0);
    expect(shade(1e-6)).toBeGreaterThan(0);
    expect(shade(1)).toBe(1);
    expect(shade(0.5)).toBeGreaterThan(shade(0.05));
  });
});
