import { afterAll, describe, expect, it } from "vitest";
import { openWebgpuOrSay } from "../../../test/swiftShader.ts";
import { missingFor } from "../../conformance/case.ts";
import { opCases } from "../../conformance/ops.ts";

/**
 * `scfa selftest --device webgpu` runs every case; here it is held that they give all memory back. Left out are products,
 * whose kernels SwiftShader takes seconds to build.
 */
const slowBuilds = /^linear/;

const device = await openWebgpuOrSay();
afterAll(() => device?.dispose());

describe.skipIf(!device)(device?.description ?? "webgpu", () => {
  const cases = opCases.filter((each) => !slowBuilds.test(each.name) && !(device && missingFor(each, device)));
  const bytesBefore = device?.memory.bytes;

  it.each(cases.map((each) => [each.name, each] as const))("%s", async (_, { run }) => {
    const verdict = await run(device!);
    expect(verdict, JSON.stringify(verdict)).toMatchObject({ pass: true });
    expect(device!.memory.bytes).toBe(bytesBefore);
  });
});
