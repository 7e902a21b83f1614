import { afterAll, describe, expect, it } from "vitest";
import { openWebgpuOrSay } from "../../../test/swiftShader.ts";
import { opCases } from "../../conformance/ops.ts";

/** Casts between float types, of which this device has one. */
const otherTypes = /^cast: .* b?f16/;

const device = await openWebgpuOrSay();
afterAll(() => device?.dispose());

describe.skipIf(!device)(device?.description ?? "webgpu", () => {
  const cases = opCases.filter(({ name }) => !otherTypes.test(name));
  const bytesBefore = device?.memory.bytes;

  it.each(cases.map((each) => [each.name, each] as const))("%s", async (_, { run }) => {
    const verdict = await run(device!);
    expect(verdict, JSON.stringify(verdict)).toMatchObject({ pass: true });
    expect(device!.memory.bytes).toBe(bytesBefore);
  });
});
