import { describe, expect, test } from "vitest";
import { pattern } from "../pattern/index.ts";
import { openReferenceDevice } from "../reference/device.ts";
import { attentionConformance, runAttentionCase } from "./attention.ts";
import { attentionCases } from "./attentionCases.ts";

describe("the reference device", () => {
  test.each(attentionConformance().map((one) => [one.name, one] as const))("%s", async (_, one) => {
    const device = openReferenceDevice();
    const verdict = await one.run(device);
    expect(verdict, JSON.stringify(verdict)).toMatchObject({ pass: true });
    expect(device.memory.bytes).toBe(0);
  });
});

test("case names are unique", () => {
  const names = attentionCases.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});

test.each(["f16", "bf16"] as const)("a device that computes in %s is held to its budget", async (dtype) => {
  const device = openReferenceDevice();
  const capabilities = { ...device.capabilities, floatTypes: [dtype] };
  Object.defineProperty(device, "capabilities", { value: capabilities });
  const [one] = attentionConformance().filter(({ name }) => name.includes("union of window and hash"));
  const verdict = await one.run(device);
  expect(verdict.pass).toBe(true);
  expect(verdict.budget).toBeGreaterThan(1e-4);
});

const sizes = { name: "wrong", B: 1, Tq: 20, Tk: 20, H: 2, Hk: 1, D: 16, seed: 1 };

test("a device that sees one key too many fails, and the verdict says where", async () => {
  const device = openReferenceDevice();
  const wrong = {
    ...pattern.window(4),
    lower: (shape: Parameters<ReturnType<typeof pattern.window>["lower"]>[0]) => pattern.window(5).lower(shape),
  };
  const verdict = await runAttentionCase(device, { ...sizes, pattern: () => wrong });
  expect(verdict.pass).toBe(false);
  expect(verdict.worstError).toBeGreaterThan(verdict.budget);
  expect(verdict.where).toMatch(/^(o|lse|dq|dk|dv)\[[\d,]+\]$/);
});

test("an output left unwritten fails", async () => {
  const device = openReferenceDevice();
  device.ops.attentionBackward = () => {};
  expect(await runAttentionCase(device, { ...sizes, pattern: () => pattern.dense() })).toMatchObject({ pass: false });
});
