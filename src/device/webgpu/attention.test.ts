import { afterAll, describe, expect, it } from "vitest";
import { openWebgpuOrSay, useSwiftShader } from "../../../test/swiftShader.ts";
import { attentionConformance } from "../../conformance/attention.ts";
import { findGpu } from "./dawn.ts";
import { openWebgpuDevice } from "./index.ts";

/**
 * Attention cases that share one build of the kernels: SwiftShader compiles for seconds where a case needs another.
 * `scfa selftest --device webgpu` runs all; here it is held that they give all memory back.
 */
const sharedBuild = new Set(
  [
    ...["hash, D = 16", "hash, D = 24", "hash without the diagonal", "hash, skewed, grouped heads"],
    ...["hash, 256 buckets for 67 rows", "hash, rows out of range take no part", "hash within documents"],
    ...["hash, fewer queries than keys", "hash, more queries than keys", "chunkedHash, skewed"],
    ...["hash, every query in a bucket without keys", "drop, 30% kept, grouped heads"],
  ].map((name) => `attention: ${name}`),
);

const device = await openWebgpuOrSay();
afterAll(() => device?.dispose());

describe.skipIf(!device)(device?.description ?? "webgpu", () => {
  const cases = attentionConformance().filter(({ name }) => sharedBuild.has(name));
  const bytesBefore = device?.memory.bytes;

  it.each(cases.map((each) => [each.name, each] as const))("%s", async (_, { run }) => {
    const verdict = await run(device!);
    expect(verdict, JSON.stringify(verdict)).toMatchObject({ pass: true });
    expect(device!.memory.bytes).toBe(bytesBefore);
  });

  it("does with the workgroup memory and buffers that every GPU has", async () => {
    useSwiftShader();
    const adapter = await (await findGpu()).requestAdapter();
    const small = await openWebgpuDevice({ device: await adapter!.requestDevice() });
    for (const { run } of attentionConformance().filter(({ name }) => /: (hash|dense), D = 24$/.test(name))) {
      expect(await run(small)).toMatchObject({ pass: true });
    }
    small.dispose();
  });
});
