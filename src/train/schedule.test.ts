import { describe, expect, it } from "vitest";
import { learningRate, type Schedule } from "./schedule.ts";

const base = { lr: 1, steps: 100, warmupShare: 0.1, startShare: 0.01, endShare: 0.2 };
const all = (schedule: Schedule) => Array.from({ length: schedule.steps }, (_, step) => learningRate(schedule, step));

describe("learningRate", () => {
  it("one-cycle begins at the start's share, peaks at the end of the warm-up, and ends at the end's share", () => {
    const rates = all({ ...base, shape: "one-cycle" });
    expect(rates[0]).toBeCloseTo(0.01, 10);
    expect(rates[9]).toBe(1);
    expect(rates[99]).toBeCloseTo(0.2, 10);
    // Half a cosine: halfway in steps is halfway in rate.
    expect(rates[54]).toBeCloseTo(0.6, 10);
    expect(rates[4]! - 0.01).toBeCloseTo(0.99 * (1 - Math.cos((Math.PI * 4) / 9)) * 0.5, 10);
  });

  it.each(["cosine", "linear", "constant"] as const)("%s rises by a straight line", (shape) => {
    const rates = all({ ...base, shape });
    expect(rates.slice(0, 10)).toEqual(Array.from({ length: 10 }, (_, i) => (i + 1) / 10));
    expect(rates[99]).toBeCloseTo(shape === "constant" ? 1 : 0.2, 10);
  });

  it.each(["one-cycle", "cosine", "linear", "constant"] as const)(
    "%s only falls after its peak, and stays in range",
    (shape) => {
      const rates = all({ ...base, shape });
      const peak = rates.indexOf(Math.max(...rates));
      for (let step = peak + 1; step < 100; step++) expect(rates[step]).toBeLessThanOrEqual(rates[step - 1]!);
      for (let step = 1; step <= peak; step++) expect(rates[step]).toBeGreaterThan(rates[step - 1]!);
    },
  );

  it.each(["one-cycle", "cosine", "linear", "constant"] as const)(
    "%s is a number for one step, and beyond the end",
    (shape) => {
      expect(learningRate({ ...base, shape, steps: 1 }, 0)).toBeGreaterThan(0);
      expect(learningRate({ ...base, shape }, 1000)).toBeCloseTo(shape === "constant" ? 1 : 0.2, 10);
      expect(learningRate({ ...base, shape, warmupShare: 0 }, 0)).toBe(1);
      expect(learningRate({ ...base, shape, warmupShare: 1 }, 99)).toBeCloseTo(1, 10);
    },
  );
});
