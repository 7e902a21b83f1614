import { expect, test } from "vitest";
import { latest } from "../src/workers/latest.ts";

test("what is asked for while work goes on is done once, after it, and a failure ends nothing but itself", async () => {
  const seen: number[] = [];
  let wanted = 0;
  const run = latest(async () => {
    seen.push(wanted);
    await Promise.resolve();
    if (wanted === 9) throw new Error("nine");
  });
  const first = run();
  for (wanted = 1; wanted < 4; wanted++) void run();
  await first;
  expect(seen).toEqual([0, 4]);
  wanted = 9;
  await expect(run()).rejects.toThrow("nine");
  wanted = 5;
  await run();
  expect(seen).toEqual([0, 4, 9, 5]);
});
