import fc from "fast-check";
import { expect, test } from "vitest";
import { ShapeError } from "../errors.ts";
import { checkStaircase, type PartialStaircase } from "./check.ts";

const i32 = (...values: number[]) => Int32Array.from(values);
const sizes = { Tq: 3, Tk: 4 };
const good: PartialStaircase = { lo: i32(0, 0, 1), hi: i32(1, 3, 4) };

test("rows left out of the lists are visited in their own order", () => {
  expect(checkStaircase(good, sizes)).toEqual({ ...good, qRows: i32(0, 1, 2), kRows: i32(0, 1, 2, 3) });
});

test("rows left out of a list come last, unseeing and unseen", () => {
  const partial = { qRows: i32(2), kRows: i32(3, 1), lo: i32(1), hi: i32(2) };
  expect(checkStaircase(partial, sizes)).toEqual({
    qRows: i32(2, 0, 1),
    kRows: i32(3, 1, 0, 2),
    lo: i32(1, 2, 2),
    hi: i32(2, 2, 2),
  });
});

test("empty sequences are staircases", () => {
  const nothing = { qRows: i32(), kRows: i32(), lo: i32(), hi: i32() };
  expect(checkStaircase(nothing, { Tq: 0, Tk: 0 })).toEqual(nothing);
  expect(checkStaircase(nothing, sizes).hi).toEqual(i32(0, 0, 0));
});

const faults: [name: string, bad: Partial<Record<keyof PartialStaircase, unknown>>, message: string][] = [
  ["lo too short", { lo: i32(0, 0) }, "staircase: lo has one entry for each of the 3 visited queries, got 2."],
  [
    "hi of all queries though some are visited",
    { qRows: i32(1, 0), lo: i32(0, 0) },
    "staircase: hi has one entry for each of the 2 visited queries, got 3.",
  ],
  ["lo missing", { lo: undefined }, "staircase: lo is an Int32Array, got nothing."],
  ["a plain array", { hi: [1, 3, 4] }, "staircase: hi is an Int32Array, got a Array."],
  ["a row out of range", { qRows: i32(0, 3, 1) }, "staircase: qRows holds rows 0 to 2, got 3 at place 1."],
  ["a negative row", { kRows: i32(-1) }, "staircase: kRows holds rows 0 to 3, got -1 at place 0."],
  ["a row twice", { kRows: i32(1, 2, 1) }, "staircase: kRows names no row twice, got row 1 at places 0 and 2."],
  ["too many rows", { qRows: i32(0, 1, 2, 0) }, "staircase: qRows names each of the 3 rows at most once, got 4 rows."],
  ["hi out of range", { hi: i32(1, 3, 5) }, "staircase: hi lies between 0 and the 4 visited keys, got hi[2] = 5."],
  [
    "hi beyond the visited keys",
    { kRows: i32(2, 0) },
    "staircase: hi lies between 0 and the 2 visited keys, got hi[1] = 3.",
  ],
  ["lo negative", { lo: i32(-1, 0, 1) }, "staircase: lo lies between 0 and the 4 visited keys, got lo[0] = -1."],
  [
    "hi decreasing",
    { hi: i32(3, 1, 4) },
    "staircase: hi never decreases, got hi[0] = 3, hi[1] = 1. Reorder qRows or kRows, or write the pattern as a union.",
  ],
  ["lo above hi", { lo: i32(0, 4, 4) }, "staircase: lo is at most hi, got lo[1] = 4, hi[1] = 3."],
];

test.each(faults)("says in one sentence what is wrong: %s", (_, bad, message) => {
  const check = () => checkStaircase({ ...good, ...bad } as PartialStaircase, sizes);
  expect(check).toThrow(ShapeError);
  expect(check).toThrow(message);
});

test("whatever passes is a staircase, and nothing else is thrown", () => {
  const array = fc.array(fc.integer({ min: -1, max: 5 }), { maxLength: 5 }).map((x) => Int32Array.from(x));
  const steps = array.map((x) => x.sort());
  const partials = fc.record({ qRows: array, kRows: array, lo: steps, hi: steps }, { requiredKeys: ["lo", "hi"] });
  let passed = 0;
  fc.assert(
    fc.property(partials, fc.nat(4), fc.nat(4), (partial, Tq, Tk) => {
      let complete: ReturnType<typeof checkStaircase>;
      try {
        complete = checkStaircase(partial as PartialStaircase, { Tq, Tk });
      } catch (error) {
        expect(error).toBeInstanceOf(ShapeError);
        return;
      }
      passed++;
      expect(Array.from(complete.qRows).sort()).toEqual(Array.from({ length: Tq }, (_, i) => i));
      expect(Array.from(complete.kRows).sort()).toEqual(Array.from({ length: Tk }, (_, j) => j));
      expect(complete.lo).toEqual(complete.lo.slice().sort());
      expect(complete.hi).toEqual(complete.hi.slice().sort());
      expect(complete.lo.every((first, n) => first >= 0 && first <= complete.hi[n] && complete.hi[n] <= Tk)).toBe(true);
    }),
    { numRuns: 2000 },
  );
  expect(passed).toBeGreaterThan(0);
});
