import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "vite";
import { afterEach, describe, expect, test, vi } from "vitest";
import { DeviceError, ShapeError } from "../../errors.ts";
import { Tensor } from "../../tensor.ts";
import { toHalfBits } from "./half.ts";
import { type CpuDevice, openCpuDevice } from "./index.ts";

const ramp = (n: number, start = 0) => Float32Array.from({ length: n }, (_, i) => start + i);

describe.each([
  { name: "two workers", open: () => openCpuDevice({ threads: 2 }) },
  { name: "one worker, no relaxed SIMD", open: () => openCpuDevice({ threads: 1, simd: "simd" }) },
  { name: "no shared memory", open: openWithoutThreads },
])("the CPU runtime with $name", ({ open }) => {
  let device: CpuDevice;
  afterEach(() => device?.dispose());

  test("gives back what was written, in every dtype", async () => {
    device = await open();
    const values = Float32Array.of(1.5, -2, 0, 65504);
    expect(await device.tensor(values, [2, 2]).read()).toEqual(values);
    expect(await device.tensor(values, [4], "f16").read()).toEqual(values);
    expect(await device.tensor(Float32Array.of(1.5, -2), [2], "bf16").read()).toEqual(Float32Array.of(1.5, -2));
    expect(await device.tensor(Int32Array.of(7, -1), [2]).read()).toEqual(Int32Array.of(7, -1));
    expect(await device.tensor(Uint16Array.of(0x3c00, 1), [2], "f16").read()).toEqual(Float32Array.of(1, 2 ** -24));
    expect(await device.tensor(new Float32Array(0), [0, 3]).read()).toEqual(new Float32Array(0));
  });

  test("a view reads in row-major order of its own shape", async () => {
    device = await open();
    const x = device.tensor(ramp(24), [2, 3, 4]);
    expect(await x.slice(1, 1, 1).read()).toEqual(Float32Array.of(4, 5, 6, 7, 16, 17, 18, 19));
    expect(await x.view([3, 2], { strides: [0, 1], offset: 2 }).read()).toEqual(Float32Array.of(2, 3, 2, 3, 2, 3));
  });

  test("copy goes between any strides and any sizes, and fill ends where the tensor ends", async () => {
    device = await open();
    const n = 300_001;
    const x = device.tensor(ramp(n), [n]);
    const out = device.zeros([n + 2]);
    device.ops.copy({ x, out: out.slice(0, 1, n) });
    const copied = await out.read();
    expect([copied[0], copied[n + 1]]).toEqual([0, 0]);
    expect(copied.findIndex((value, i) => i > 0 && i <= n && value !== i - 1)).toBe(-1);
    const bits = device.zeros([n], "f16");
    device.ops.fill({ out: bits.slice(0, 3, 100_001), value: 2 });
    expect((await bits.read()).reduce((sum, v) => sum + v, 0)).toBe(200_002);
    const columns = device.zeros([4, 3, 2]);
    device.ops.copy({
      x: device.tensor(ramp(12), [2, 6]).view([2, 3, 2], { strides: [6, 2, 1] }),
      out: columns.slice(0, 1, 2),
    });
    expect((await columns.read()).subarray(6, 18)).toEqual(ramp(12));
  });

  test("a write never overtakes the commands before it, nor a read those after it", async () => {
    device = await open();
    const n = 1 << 18;
    const x = device.tensor(ramp(n), [n]);
    const copies = [];
    for (let round = 0; round < 40; round++) {
      const out = device.empty([n]);
      for (let again = 0; again < 5; again++) device.ops.copy({ x, out });
      copies.push(out.read());
      out.dispose();
      x.write(new Float32Array(n).fill(round));
    }
    const last = x.read();
    device.ops.fill({ out: x, value: -1 });
    for (const [round, copy] of copies.entries()) {
      const values = await copy;
      expect([values[0], values[n - 1]]).toEqual(round === 0 ? [0, n - 1] : [round - 1, round - 1]);
    }
    expect((await last)[n - 1]).toBe(39);
    expect((await x.read())[0]).toBe(-1);
  });

  test("more commands than the ring holds all run, in order", async () => {
    device = await open();
    const a = device.tensor(ramp(7), [7]);
    const b = device.zeros([7]);
    for (let i = 0; i < 7001; i++) {
      device.ops.copy({ x: a, out: b });
      if (i % 1000 === 999) device.ops.fill({ out: a, value: i });
    }
    expect((await b.read())[6]).toBe(6999);
    await device.synchronize();
    expect((await a.read())[0]).toBe(6999);
  });

  test("memory is counted, reused and refused with the numbers", async () => {
    device = await open();
    const before = device.memory.bytes;
    for (let i = 0; i < 200; i++) device.zeros([1 << 20]).dispose();
    expect(device.memory.bytes).toBe(before);
    expect(device.memory.peakBytes).toBeLessThan(before + (8 << 20));
    const held = [];
    expect(() => {
      for (;;) held.push(device.empty([1 << 28]));
    }).toThrow(/allocate: .*got a request for 1073741824 bytes with \d+ held/);
    expect(() => device.empty([2 ** 31])).toThrow(ShapeError);
    const small = device.tensor(ramp(3), [3]);
    expect(await small.read()).toEqual(ramp(3));
  });

  test("a disposed device says so", async () => {
    device = await open();
    const x = device.zeros([4]);
    device.dispose();
    await expect(x.read()).rejects.toThrow(DeviceError);
    expect(() => device.ops.fill({ out: x, value: 0 })).toThrow(/disposed/);
  });
});

test("a kernel that traps fails the device with a DeviceError, for what waits and what comes", async () => {
  const device = await openCpuDevice({ threads: 2 });
  const x = device.zeros([4]);
  // A source that lies about its memory: the copy leaves the WebAssembly memory.
  const liar = new Tensor(device, x.storage, x.dtype, [2, 2], [3, 1], 2 ** 29);
  device.ops.copy({ x: liar, out: x.view([2, 2]) });
  await expect(device.synchronize()).rejects.toThrow(/worker: .*out of bounds/);
  expect(() => device.ops.fill({ out: x, value: 0 })).toThrow(DeviceError);
  device.dispose();
});

test("half precision rounds to nearest even", () => {
  const f16 = [
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [2 ** -25, 0],
    [3 * 2 ** -25, 2],
    [65519, 0x7bff],
    [65520, 0x7c00],
    [-0, 0x8000],
    [Number.NEGATIVE_INFINITY, 0xfc00],
    [1023.75 * 2 ** -24, 0x400],
    [2047.75 * 2 ** -11, 0x3c00],
  ] as const;
  for (const [value, bits] of f16) expect([value, toHalfBits(value, "f16")]).toEqual([value, bits]);
  expect(toHalfBits(1 + 2 ** -8, "bf16")).toBe(0x3f80);
  expect(toHalfBits(1 + 3 * 2 ** -8, "bf16")).toBe(0x3f82);
});

test("a program that is bundled and done exits although the device was not disposed of", async () => {
  const folder = mkdtempSync(join(tmpdir(), "scfa-cpu-"));
  const device = JSON.stringify(join(import.meta.dirname, "index.ts"));
  const program = `import { openCpuDevice } from ${device};
    const device = await openCpuDevice({ threads: 2 });
    const x = device.zeros([8]);
    console.log((await x.read()).length, device.description);`;
  writeFileSync(join(folder, "program.js"), program);
  await build({ root: folder, logLevel: "silent", build: { ssr: join(folder, "program.js"), outDir: "dist" } });
  const { stdout, status } = spawnSync(process.execPath, [join(folder, "dist/program.mjs")], {
    timeout: 20_000,
    encoding: "utf8",
  });
  rmSync(folder, { recursive: true });
  expect([stdout, status]).toEqual([expect.stringMatching(/^8 cpu \(2 threads, /), 0]);
});

async function openWithoutThreads(): Promise<CpuDevice> {
  vi.stubGlobal("SharedArrayBuffer", undefined);
  try {
    return await openCpuDevice();
  } finally {
    vi.unstubAllGlobals();
  }
}
