import { expect, test } from "vitest";
import { measureInTurns, timeAwake, timeInARow } from "./measure.ts";

test("contestants run in turns, and the first round does not count", async () => {
  const order: string[] = [];
  const contestant = (name: string) => ({ name, run: async () => void order.push(name) });
  const times = await measureInTurns([contestant("a"), contestant("b")], { rounds: 2 });
  expect(order.join("")).toBe("ababab");
  expect(times.get("a")!.allMs).toHaveLength(2);
});

test("a run that takes long is not repeated, and a short one is taken from a row of them", async () => {
  const asked: number[] = [];
  const taking = (ms: number) => async (runs: number) => {
    asked.push(runs);
    return 7 + ms * runs;
  };
  expect(await timeInARow(taking(60))).toBe(67);
  expect(await timeInARow(taking(3))).toBeCloseTo(3 + 7 / 5);
  expect(asked).toEqual([1, 1, 5]);
});

test("counts the run that others have woken the device for, and a long one at once", async () => {
  const times = [70, 60, 33, 32];
  expect(await timeAwake(async () => times.shift()!)).toBe(33);
  expect(await timeAwake(async () => 250)).toBe(250);
});
