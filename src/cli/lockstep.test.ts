import { expect, test } from "vitest";
import { Lockstep } from "./lockstep.ts";

async function play(stepsOf: readonly number[], { failing }: { failing?: number } = {}) {
  const order: string[] = [];
  const lockstep = new Lockstep(stepsOf.length, () => order.push("|"));
  const run = async (member: number) => {
    try {
      for (let step = 0; step < stepsOf[member]!; step++) {
        await lockstep.takeTurn(member);
        order.push(`${"abc"[member]}${step}`);
        // Other members' work must not slip in while this one awaits its own.
        await new Promise((resolve) => setTimeout(resolve, (3 - member) * 2));
        order.push("/");
        if (member === failing) throw new Error("failed");
      }
    } finally {
      lockstep.leave(member);
    }
  };
  const ends = await Promise.allSettled(stepsOf.map((_, member) => run(member)));
  return { order: order.join(""), ends: ends.map(({ status }) => status) };
}

test("steps are taken in turns, one at a time, each round announced", async () => {
  const { order } = await play([2, 2, 2]);
  expect(order).toBe("|a0/b0/c0/|a1/b1/c1/");
});

test("those that are done leave the others going on", async () => {
  expect((await play([1, 3, 2])).order).toBe("|a0/b0/c0/|b1/c1/|b2/");
  expect((await play([3, 1, 2])).order).toBe("|a0/b0/c0/|a1/c1/|a2/");
});

test("one that fails does not hold up the others", async () => {
  const { order, ends } = await play([2, 2, 2], { failing: 1 });
  expect(order).toBe("|a0/b0/c0/|a1/c1/");
  expect(ends).toEqual(["fulfilled", "rejected", "fulfilled"]);
});
