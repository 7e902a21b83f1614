import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { countTiles, drawGrid, drawStaircase, shade, visibilityGrid } from "./attentionPicture.ts";
import type { PlainStaircase } from "./run.ts";

const identity = (n: number) => Array.from({ length: n }, (_, i) => i);
const dense = (T: number): PlainStaircase => ({
  qRows: identity(T),
  kRows: identity(T),
  lo: identity(T).map(() => 0),
  hi: identity(T).map((n) => n + 1),
});

/** Any staircase: visit orders shuffled, bounds that never decrease, empty rows among them. */
const anyStaircase: fc.Arbitrary<PlainStaircase> = fc
  .tuple(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 1, max: 24 }))
  .chain(([Tq, Tk]) => {
    const bound = fc
      .array(fc.integer({ min: 0, max: Tk }), { minLength: Tq, maxLength: Tq })
      .map((list) => list.sort((a, b) => a - b));
    const order = (n: number) => fc.shuffledSubarray(identity(n), { minLength: n });
    return fc.tuple(order(Tq), order(Tk), bound, bound).map(([qRows, kRows, a, b]) => ({
      qRows,
      kRows,
      lo: a.map((x, n) => Math.min(x, b[n]!)),
      hi: b,
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

describe("countTiles", () => {
  test("agrees with looking at every pair of every tile", () => {
    fc.assert(
      fc.property(anyStaircase, fc.integer({ min: 1, max: 8 }), (s, tile) => {
        const counts = { skipped: 0, partial: 0, full: 0 };
        let visiblePairs = 0;
        for (let n0 = 0; n0 < s.lo.length; n0 += tile) {
          for (let m0 = 0; m0 < s.kRows.length; m0 += tile) {
            let seen = 0;
            let all = 0;
            for (let n = n0; n < Math.min(n0 + tile, s.lo.length); n++) {
              for (let m = m0; m < Math.min(m0 + tile, s.kRows.length); m++) {
                all++;
                if (s.lo[n]! <= m && m < s.hi[n]!) seen++;
              }
            }
            visiblePairs += seen;
            counts[seen === 0 ? "skipped" : seen === all ? "full" : "partial"]++;
          }
        }
        expect(countTiles(s, tile)).toEqual({ tile, visiblePairs, ...counts });
      }),
    );
  });
});

describe("drawing", () => {
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
