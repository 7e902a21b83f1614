import { expect, test } from "vitest";
import { buildStaircase } from "./build.ts";
import { countTiles, visiblePairs } from "./tiles.ts";

function banded(T: number, far: number) {
  const rule = { documents: null, qGroups: null, kGroups: null, groupCount: 1, near: 0, far, chunk: Infinity };
  return buildStaircase(rule, { B: 1, Tq: T, Tk: T, H: 1, Hk: 1 }, { b: 0, h: 0 });
}

test("dense causal attention masks the tiles on the diagonal and skips those above it", () => {
  const dense = banded(256, Infinity);
  expect(visiblePairs(dense)).toBe((256 * 257) / 2);
  expect(countTiles(dense, { Tk: 256, blockM: 64, blockN: 64 })).toEqual({ skipped: 6, partial: 4, full: 6 });
});

test("a window skips what lies before it", () => {
  // Each query tile of 64 touches its own tile and, but for the first, the one before.
  expect(countTiles(banded(256, 63), { Tk: 256, blockM: 64, blockN: 64 })).toEqual({ skipped: 9, partial: 7, full: 0 });
});

test("the tiles counted are those that hold a visible pair, with ragged edges", () => {
  const { lo, hi } = banded(37, 9);
  for (const [blockM, blockN] of [
    [4, 8],
    [16, 5],
    [64, 64],
  ]) {
    let touched = 0;
    for (let q0 = 0; q0 < 37; q0 += blockM) {
      for (let k0 = 0; k0 < 37; k0 += blockN) {
        const rows = Array.from({ length: Math.min(blockM, 37 - q0) }, (_, n) => q0 + n);
        if (rows.some((n) => Math.max(lo[n], k0) < Math.min(hi[n], k0 + blockN))) touched++;
      }
    }
    const tiles = countTiles({ lo, hi }, { Tk: 37, blockM, blockN });
    expect(tiles.partial + tiles.full).toBe(touched);
  }
});

test("no tile is counted for queries that see nothing, wherever their bounds stand", () => {
  // Two queries that see three keys, and six that see none; their bounds lie inside a tile of 2.
  const lo = Int32Array.of(0, 0, 3, 3, 3, 3, 3, 3);
  const hi = Int32Array.of(3, 3, 3, 3, 3, 3, 3, 3);
  expect(countTiles({ lo, hi }, { Tk: 8, blockM: 2, blockN: 2 })).toEqual({ skipped: 14, partial: 1, full: 1 });
});
