import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fakeCudaDevice, h200, openFakeCuda, rtx3090 } from "../../../test/fakeCuda.ts";
import { attentionConformance } from "../../conformance/attention.ts";
import { sparsityCases } from "../../conformance/opsSparsity.ts";
import type { NativeValue } from "./driver.ts";

/** Kernels whose first parameter is AttentionArgs: q, k, v, o, dout, dq, dk and dv come first. */
const isAttention = (entry: string) => /^attention_(forward|backward)/.test(entry);
const views = 8;

/** What is wrong with a tensor map's arguments, by the rules of cuTensorMapEncodeTiled. */
function mapFaults(args: readonly NativeValue[]): string[] {
  const [map, , , address] = args as number[];
  const [sizes, strides] = [args[4], args[5]].map((list) => [...(list as BigUint64Array)].map(Number));
  const box = [...(args[6] as Uint32Array)];
  return [
    map! % 64 !== 0 && "the map lies at a multiple of 64",
    address! % 16 !== 0 && "the tensor lies at a multiple of 16",
    sizes!.some((size) => size < 1 || size > 2 ** 32) && `sizes are 1 to 2^32: ${sizes}`,
    strides!.some((stride) => stride % 16 !== 0 || stride <= 0 || stride >= 2 ** 40) && `strides are legal: ${strides}`,
    strides!.some((stride, n) => n > 0 && stride % strides![n - 1]! !== 0) && `strides contain each other: ${strides}`,
    box.some((size) => size < 1 || size > 256) && `a box is 1 to 256 wide: ${box}`,
    args[9] === 3 && box[0] !== 64 && "a box is as wide as the swizzle of 128 bytes",
    box.reduce((bytes, size) => bytes * size, args[1] === 7 ? 4 : 2) % 16 !== 0 && "a box fills 16 bytes",
  ].filter((fault) => fault !== false);
}

describe.each([
  { name: "H200", facts: h200, deterministic: false },
  { name: "H200, deterministic", facts: h200, deterministic: true },
  { name: "RTX 3090", facts: rtx3090, deterministic: false },
])("on an $name every conformance case reaches kernels with legal arguments", ({ facts, deterministic }) => {
  const cuda = openFakeCuda({ facts, deterministic });
  const device = fakeCudaDevice(cuda);
  const stop = new Error("stop: values are not looked at");
  const maps: (readonly NativeValue[])[] = [];
  cuda.driver.answers.set("cuTensorMapEncodeTiled", (args) => {
    maps.push(args);
    return 0;
  });
  device.read = () => Promise.reject(stop);

  beforeEach(() => {
    cuda.launches.length = 0;
    maps.length = 0;
  });
  afterEach(() => {
    cuda.driver.log.length = 0;
  });

  const cases = [...attentionConformance(), ...sparsityCases];
  test.each(cases.map((each) => [each.name, each] as const))("%s", async (name, { run }) => {
    await expect(run(device)).rejects.toBe(stop);
    expect(cuda.launches.length).toBeGreaterThan(0);
    for (const { entry, grid, threads, sharedBytes, parameters } of cuda.launches) {
      const [x, y, z] = grid as [number, number, number];
      const legal = x < 2 ** 31 && y < 2 ** 16 && z < 2 ** 16 && threads <= 1024 && threads % 32 === 0;
      expect([name, entry, legal, sharedBytes <= facts.sharedBytesPerBlock]).toEqual([name, entry, true, true]);
      if (!isAttention(entry)) continue;
      // Of each view: address in bytes, strides of B, T and H in elements of 2 bytes.
      const words = Array.from({ length: views * 4 }, (_, n) => parameters[0]!.getBigInt64(n * 8, true));
      const odd = words.filter((word, n) => word % (n % 4 === 0 ? 16n : 8n) !== 0n);
      expect([name, entry, odd]).toEqual([name, entry, []]);
    }
    expect(maps.flatMap(mapFaults)).toEqual([]);
  });
});
