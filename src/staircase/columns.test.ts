import fc from "fast-check";
import { expect, test } from "vitest";
import { columnsOf } from "./columns.ts";

const steps = (length: number, most: number) =>
  fc.array(fc.nat(most), { minLength: length, maxLength: length }).map((values) => Int32Array.from(values).sort());

const staircases = fc
  .record({ Tq: fc.nat(20), Tk: fc.nat(20) })
  .chain(({ Tq, Tk }) => fc.record({ Tk: fc.constant(Tk), one: steps(Tq, Tk), other: steps(Tq, Tk) }))
  .map(({ Tk, one, other }) => ({
    Tk,
    lo: one.map((x, n) => Math.min(x, other[n])),
    hi: one.map((x, n) => Math.max(x, other[n])),
  }));

test("the queries of a column are exactly those whose interval holds the key", () => {
  fc.assert(
    fc.property(staircases, ({ Tk, lo, hi }) => {
      const { qLo, qHi } = columnsOf({ lo, hi }, Tk);
      for (let m = 0; m < Tk; m++) {
        expect(qLo[m]).toBeLessThanOrEqual(qHi[m]);
        const seenBy = Array.from(lo.keys()).filter((n) => lo[n] <= m && m < hi[n]);
        const column = Array.from({ length: qHi[m] - qLo[m] }, (_, n) => qLo[m] + n);
        expect(column).toEqual(seenBy);
      }
    }),
  );
});

test("columns never decrease and stay within the queries", () => {
  fc.assert(
    fc.property(staircases, ({ Tk, lo, hi }) => {
      for (const ends of Object.values(columnsOf({ lo, hi }, Tk))) {
        expect(ends).toEqual(ends.slice().sort());
        expect(ends.every((n: number) => n >= 0 && n <= lo.length)).toBe(true);
      }
    }),
  );
});
