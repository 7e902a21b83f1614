import { afterAll, describe, expect, it } from "vitest";
import { openWebgpuOrSay, sharedBuildCases } from "../../../test/swiftShader.ts";
import { attentionConformance } from "../../conformance/attention.ts";

const runsAll = process.env["SCFA_WEBGPU"] === "all";

const device = await openWebgpuOrSay();
afterAll(() => device?.dispose());

describe.skipIf(!device)(device?.description ?? "webgpu", () => {
  const cases = attentionConformance().filter(({ name }) => runsAll || sharedBuildCases.has(name));
  const bytesBefore = device?.memory.bytes;

  it.each(cases.map((each) => [each.name, each] as const))("%s", async (_, { run }) => {
    const verdict = await run(device!);
    expect(verdict, JSON.stringify(verdict)).toMatchObject({ pass: true });
    expect(device!.memory.bytes).toBe(bytesBefore);
  });
});
