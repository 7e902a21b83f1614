import { openDevice } from "scfa";
import { expect, test } from "vitest";
import { catalogue, type PatternName, usualNumbers } from "../src/explore/catalogue.ts";
import { planChoice } from "../src/explore/patterns.ts";
import { keysSeen, visitedTiles } from "../src/explore/picture.ts";

const device = await openDevice("cpu", { threads: 1 });

test.each(Object.keys(catalogue) as PatternName[])(
  "%s: the tiles drawn are those that the package counts",
  async (name) => {
    for (const [T, tile] of [
      [64, 16],
      [128, 4],
    ] as const) {
      const { parts, tiles } = await planChoice(device, { name, numbers: usualNumbers(name), T, tile, seed: 3 });
      const drawn = parts.flatMap((part) => [...visitedTiles(part, tile)]);
      const full = drawn.filter(({ isFull }) => isFull).length;
      expect({ partial: drawn.length - full, full }).toEqual({ partial: tiles.partial, full: tiles.full });
    }
  },
);

test("HDT: tokens see their sentence, anchors also their equals, each pair once", async () => {
  const choice = { name: "hdt" as const, numbers: { sentence: 4, section: 2 }, T: 20, tile: 4, seed: 1 };
  const { parts } = await planChoice(device, choice);
  const sees = (query: number) =>
    parts.flatMap((part) => [...keysSeen(part, query)].map(({ key }) => key)).sort((a, b) => a - b);
  expect(sees(5)).toEqual([4, 5, 6, 7]);
  // The anchor of a section's second sentence: its sentence, and the section's anchors.
  expect(sees(4)).toEqual([0, 4, 5, 6, 7]);
  // The anchor of the second section: its sentence, its section's anchors, and the other sections'.
  expect(sees(8)).toEqual([0, 8, 9, 10, 11, 12, 16]);
  // The last section has one sentence only.
  expect(sees(16)).toEqual([0, 8, 16, 17, 18, 19]);
});
