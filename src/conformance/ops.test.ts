import { describe, expect, it } from "vitest";
import type { Device } from "../device/device.ts";
import type { Ops } from "../device/ops.ts";
import { openReferenceDevice, referenceValues, setReferenceValues } from "../reference/device.ts";
import type { DType, Tensor } from "../tensor.ts";
import { missingFor } from "./case.ts";
import { opCases } from "./ops.ts";
import { claim, compare } from "./trial.ts";

/** A reference device one of whose ops goes wrong, in the way that `harm` does. */
function sabotaged(op: keyof Ops, harm: (args: never, original: (args: never) => void) => void): Device {
  const device = openReferenceDevice({ precision: "f32" });
  const original = device.ops[op] as (args: never) => void;
  Object.assign(device.ops, { [op]: (args: never) => harm(args, original) });
  return device;
}

/** Changes one value of a tensor, the last, by a small share of it. */
function nudge(tensor: Tensor<DType>, share: number): void {
  const values = referenceValues(tensor);
  values[values.length - 1] = tensor.dtype === "i32" ? values.at(-1)! + 1 : values.at(-1)! * (1 + share) + share;
  if (tensor.isContiguous) setReferenceValues(tensor, values);
}

/** How many cases of a room fail, counted up to a limit. */
async function failures(device: Device, room: string, limit = 1): Promise<number> {
  let failed = 0;
  for (const opCase of opCases.filter((c) => c.room === room)) {
    if (!(await opCase.run(device)).pass) failed++;
    if (failed === limit) break;
  }
  return failed;
}

describe("the op cases", () => {
  it("have names of their own", () => {
    expect(new Set(opCases.map(({ name }) => name)).size).toBe(opCases.length);
  });

  it("pass on straightforward float32, and leave no memory behind", async () => {
    const device = openReferenceDevice({ precision: "f32" });
    for (const opCase of opCases) {
      expect(await opCase.run(device), opCase.name).toMatchObject({ pass: true });
    }
    expect(device.memory.bytes).toBe(0);
  });

  it("are left out, with the reason, where a device has no tensors of a type that they need", () => {
    const device = openReferenceDevice();
    const missing = () => opCases.flatMap((each) => missingFor(each, device) ?? []);
    expect(missing()).toEqual([]);
    Object.defineProperty(device, "capabilities", { value: { ...device.capabilities, tensorTypes: ["f32", "f16"] } });
    expect(missing()).toEqual(["no tensors of bf16 on this device"]);
  });

  const outputs: [keyof Ops, string][] = [
    ["fill", "out"],
    ["copy", "out"],
    ["cast", "out"],
    ["add", "out"],
    ["embed", "out"],
    ["embedBackward", "dTokenTable"],
    ["embedBackward", "dPositionTable"],
    ["layerNorm", "out"],
    ["layerNorm", "mean"],
    ["layerNorm", "rstd"],
    ["layerNormBackward", "dx"],
    ["layerNormBackward", "dWeight"],
    ["layerNormBackward", "dBias"],
    ["normalizeRows", "out"],
    ["linear", "out"],
    ["linear", "preGelu"],
    ["linearBackwardInput", "dx"],
    ["linearBackwardWeight", "dw"],
    ["linearBackwardWeight", "dBias"],
    ["rope", "out"],
    ["lshBuckets", "out"],
    ["lshBuckets", "moments"],
    ["keepMask", "out"],
    ["softmaxCrossEntropy", "losses"],
    ["softmaxCrossEntropy", "logits"],
    ["gradNorm", "norm"],
    ["adamw", "param"],
    ["adamw", "computed"],
    ["adamw", "m"],
    ["adamw", "v"],
  ];
  it.each(outputs)("notice when the last value of %s's %s is off by 1e-4", async (op, output) => {
    const device = sabotaged(op, (args: Record<string, Tensor>, original) => {
      original(args as never);
      if (args[output]) nudge(args[output], 1e-4);
    });
    expect(await failures(device, op)).toBe(1);
  });

  it.each(["qRows", "kRows", "lo", "hi", "qLo", "qHi"])(
    "notice when the last of a staircase's %s is off by 1",
    async (field) => {
      const device = sabotaged("staircase", (args: { out: Record<string, Tensor> }, original) => {
        original(args as never);
        if (args.out[field]) nudge(args.out[field], 0);
      });
      expect(await failures(device, "staircase", 10)).toBe(10);
    },
  );

  type Hash = Parameters<Ops["lshBuckets"]>[0];
  it.each<[string, (args: Hash) => Hash]>([
    ["are not balanced though their moments are right", (args) => ({ ...args, moments: null })],
    ["are those of rows without the ones before", (args) => ({ ...args, firstPosition: 0 })],
    ["go by moments of their own, not the keys'", (args) => ({ ...args, relativeTo: null })],
  ])("notice buckets that %s", async (_, change) => {
    const device = sabotaged("lshBuckets", (args: Hash, run) => {
      const original = run as (args: Hash) => void;
      const before = args.moments && args.firstPosition ? referenceValues(args.moments) : null;
      original(args);
      if (!args.moments) return;
      const after = referenceValues(args.moments);
      if (before) setReferenceValues(args.moments, before);
      original(change(args));
      setReferenceValues(args.moments, after);
    });
    expect(await failures(device, "lshBuckets")).toBe(1);
  });

  it("notice an op that does nothing", async () => {
    for (const [op] of outputs) {
      const idle = sabotaged(op, () => {});
      expect(await failures(idle, op), op).toBe(1);
    }
  });
});

describe("a verdict", () => {
  const tensor = { dtype: "f32", shape: [2, 2] } as const;

  it("allows twice the baseline's error and 1e-6 of the largest value, and names the worst place", () => {
    const exact = [0, 1, 2, 4];
    const baseline = [0, 0.999, 2, 4];
    const verdict = compare("o", tensor, [0, 1, 2.0019, 4], exact, baseline);
    expect(verdict.pass).toBe(true);
    expect(verdict.where).toBe("o[1,0]");
    expect(verdict.budget).toBeCloseTo(2 * 0.001 + 4e-6, 12);
    expect(compare("o", tensor, [0, 1, 2.0021, 4], exact, baseline).pass).toBe(false);
  });

  it("takes no number for NaN, nor NaN for a number, nor one infinity for the other", () => {
    const [nan, inf] = [Number.NaN, Number.POSITIVE_INFINITY];
    const judge = (actual: number, exact: number) =>
      compare("o", tensor, [actual, 1, 1, 1], [exact, 1, 1, 1], [exact, 1, 1, 1]).pass;
    expect(judge(nan, nan)).toBe(true);
    expect(judge(inf, inf)).toBe(true);
    expect(judge(nan, 0)).toBe(false);
    expect(judge(0, nan)).toBe(false);
    expect(judge(inf, -inf)).toBe(false);
    expect(judge(1e30, inf)).toBe(false);
  });

  it("asks integers to be equal", () => {
    const ints = { dtype: "i32", shape: [2] } as const;
    expect(compare("rows", ints, [1, 2], [1, 2], [1, 2]).pass).toBe(true);
    expect(compare("rows", ints, [1, 3], [1, 2], [1, 3]).pass).toBe(false);
  });

  it("comes out of a claim as an error that a caller can show", async () => {
    const nothing = claim("fill", "of nothing", (t) => ({ out: t.poison([0]) }));
    expect(await nothing.run(openReferenceDevice())).toMatchObject({ pass: true, worstError: 0 });
  });
});
