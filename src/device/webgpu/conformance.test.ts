import { afterAll, describe, expect, it } from "vitest";
import { useSwiftShader } from "../../../test/swiftShader.ts";
import { conformanceCases } from "../../conformance/index.ts";
import { UnsupportedError } from "../../errors.ts";
import { openWebgpuDevice, type WebgpuDevice } from "./index.ts";

/** Casts between float types, of which this device has one. */
const otherTypes = /nearest b?f16/;

async function openOrSay(): Promise<WebgpuDevice | null> {
  useSwiftShader();
  try {
    return await openWebgpuDevice();
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    console.log(`webgpu is not tested here: ${error.message}`);
    return null;
  }
}

const device = await openOrSay();
afterAll(() => device?.dispose());

describe.skipIf(!device)(device?.description ?? "webgpu", () => {
  const cases = conformanceCases.filter(({ name }) => !otherTypes.test(name));
  const bytesBefore = device?.memory.bytes;

  it.each(cases.map((each) => [each.name, each] as const))("%s", async (_, { run }) => {
    const verdict = await run(device!);
    expect(verdict, JSON.stringify(verdict)).toMatchObject({ pass: true });
    expect(device!.memory.bytes).toBe(bytesBefore);
  });
});
