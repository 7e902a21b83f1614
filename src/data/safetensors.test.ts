import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mutations, noise, valueOrDataError } from "../../test/fuzz.ts";
import { DataError } from "../errors.ts";
import { memorySource } from "../files/source.ts";
import {
  elementBytes,
  encodeSafetensors,
  openSafetensors,
  type SafetensorsType,
  safetensorsChunks,
  type TensorToWrite,
  widenBf16,
  widenF16,
} from "./safetensors.ts";

const open = (bytes: Uint8Array) => openSafetensors(memorySource(bytes, "m.safetensors"));

/** A file from a header and a number of data bytes, whatever they say of each other. */
function file(header: unknown, dataBytes: number, { length }: { length?: bigint } = {}): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const sample: TensorToWrite[] = [
  { name: "bytes", dtype: "U8", shape: [3], data: Uint8Array.of(1, 2, 3) },
  { name: "2", dtype: "F32", shape: [2, 2], data: Float32Array.of(1, -2, 3.5, Number.NaN) },
  { name: "1", dtype: "BF16", shape: [2], data: () => Uint16Array.of(0x3f80, 0xc000) },
  { name: "ids", dtype: "I32", shape: [1], data: async () => Int32Array.of(-7) },
  { name: "big", dtype: "I64", shape: [], data: BigInt64Array.of(-(2n ** 60n)) },
  { name: "none", dtype: "F16", shape: [0, 5], data: new Uint16Array() },
  { name: "u", dtype: "U16", shape: [2], data: Uint16Array.of(0, 65535) },
];

describe("writing", () => {
  test("gives what an independent reading of the format finds", async () => {
    const bytes = await encodeSafetensors(sample, { format: "pt" });
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    expect(length % 8).toBe(0);
    const header = JSON.parse(Buffer.from(bytes.subarray(8, 8 + length)).toString());
    expect(header.__metadata__).toEqual({ format: "pt" });
    const [begin, end] = header["2"].data_offsets;
    expect(header["2"]).toEqual({ dtype: "F32", shape: [2, 2], data_offsets: [begin, begin + 16] });
    expect((8 + length + begin) % 4).toBe(0);
    const view = new DataView(bytes.buffer, 8 + length);
    expect([0, 1, 2].map((i) => view.getFloat32(begin + 4 * i, true))).toEqual([1, -2, 3.5]);
    expect(end).toBe(begin + 16);
    const total = Object.values<{ data_offsets: number[] }>({ ...header, __metadata__: { data_offsets: [0, 0] } });
    expect(Math.max(...total.map((t) => t.data_offsets[1]!))).toBe(bytes.length - 8 - length);
  });

  test("holds one tensor at a time", async () => {
    const made: string[] = [];
    const tensors = ["a", "b"].map((name) => ({
      name,
      dtype: "F32" as const,
      shape: [1],
      data: () => {
        made.push(name);
        return new Float32Array(1);
      },
    }));
    const chunks = safetensorsChunks(tensors);
    await chunks.next();
    expect(made).toEqual([]);
    await chunks.next();
    expect(made).toEqual(["a"]);
  });

  test("refuses a name twice and data of another size", async () => {
    const tensor = { name: "a", dtype: "F32" as const, shape: [2], data: new Float32Array(2) };
    await expect(encodeSafetensors([tensor, tensor])).rejects.toThrow('tensor names must be unique, got "a" again');
    await expect(encodeSafetensors([{ ...tensor, shape: [3] }])).rejects.toThrow(
      '"a" [3] of F32 needs 12 bytes, got 8',
    );
    await expect(encodeSafetensors([{ ...tensor, name: "__metadata__" }])).rejects.toThrow("must be unique");
  });
});

describe("reading", () => {
  test("gives every tensor as it was written, whole or in parts", async () => {
    const opened = await open(await encodeSafetensors(sample, { a: "b" }));
    expect(opened.metadata).toEqual({ a: "b" });
    expect([...opened.tensors.keys()].sort()).toEqual(sample.map(({ name }) => name).sort());
    expect(await opened.readF32("2")).toEqual(Float32Array.of(1, -2, 3.5, Number.NaN));
    expect(await opened.readF32("2", { start: 1, count: 2 })).toEqual(Float32Array.of(-2, 3.5));
    expect(await opened.readF32("1")).toEqual(Float32Array.of(1, -2));
    expect(await opened.readAs("1", "BF16")).toEqual(Uint16Array.of(0x3f80, 0xc000));
    expect(await opened.readAs("ids", "I32")).toEqual(Int32Array.of(-7));
    expect(await opened.readAs("big", "I64")).toEqual(BigInt64Array.of(-(2n ** 60n)));
    expect(await opened.readAs("u", "U16")).toEqual(Uint16Array.of(0, 65535));
    expect(await opened.readF32("none")).toEqual(new Float32Array());
    expect(await opened.read("bytes")).toEqual(Uint8Array.of(1, 2, 3));
    expect(opened.entry("big").shape).toEqual([]);
    expect(() => opened.entry("no")).toThrow('m.safetensors: tensor "no": the file has no tensor of this name.');
    expect(() => opened.entry("2", [4])).toThrow("the shape must be [4], but is [2, 2]");
    await expect(opened.readF32("ids")).rejects.toThrow("floating-point elements are expected, but they are I32");
    await expect(opened.readAs("ids", "I64")).rejects.toThrow(DataError);
    await expect(opened.read("2", { start: 3, count: 2 })).rejects.toThrow('elements must lie within the 4 of "2"');
  });

  test("returns what any set of tensors held", async () => {
    const tensor = fc
      .record({
        name: fc.string({ minLength: 1, maxLength: 6 }).filter((name) => name !== "__metadata__"),
        dtype: fc.constantFrom(...(Object.keys(elementBytes) as SafetensorsType[])),
        shape: fc.array(fc.nat(4), { maxLength: 3 }),
        fill: fc.nat(255),
      })
      .map(({ fill, ...rest }) => {
        const bytes = rest.shape.reduce((n, d) => n * d, 1) * elementBytes[rest.dtype];
        return { ...rest, data: new Uint8Array(bytes).fill(fill) };
      });
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(tensor, { selector: (t) => t.name, maxLength: 8 }), async (tensors) => {
        const opened = await open(await encodeSafetensors(tensors));
        for (const { name, data, shape, dtype } of tensors) {
          expect(opened.entry(name)).toMatchObject({ shape, dtype });
          expect(await opened.read(name)).toEqual(data);
        }
      }),
    );
  });

  const f32 = (begin: number, end: number, shape: unknown = [(end - begin) / 4]) => ({
    dtype: "F32",
    shape,
    data_offsets: [begin, end],
  });
  test.each([
    ["too short", new Uint8Array(7), "byte 0: a safetensors file starts with 8 bytes"],
    [
      "header longer than the file",
      file({}, 0, { length: 3n }),
      "byte 0: the header says it has 3 bytes, but only 2 follow",
    ],
    ["header over the limit", file({}, 0, { length: 2n ** 63n }), "byte 0: a header has at most 100000000 bytes"],
    ["header not JSON", file("{,}", 0), "header, line 1, column 2: this is not valid JSON"],
    ["header no object", file("[]", 0), "byte 8: the header must start with {"],
    ["header not UTF-8", file({}, 1, { length: 3n }), "header, line 1, column 3: this is not valid JSON"],
    ["deep header", file(`{"a":${"[".repeat(9)}`, 0), "nested deeper than 4 levels"],
    [
      "a name twice",
      file(`{"a":${JSON.stringify(f32(0, 4))},"a":${JSON.stringify(f32(4, 8))}}`, 8),
      'the key "a" is given twice',
    ],
    ["unknown type", file({ a: { ...f32(0, 4), dtype: "F31" } }, 4), 'header, tensor "a", at dtype: '],
    ["negative size", file({ a: f32(0, 4, [-1]) }, 4), 'header, tensor "a", at shape[0]: '],
    ["fractional size", file({ a: f32(0, 4, [0.5]) }, 4), 'header, tensor "a", at shape[0]: '],
    [
      "shape and offsets differ",
      file({ a: f32(0, 8, [3]) }, 8),
      "shape [3] of F32 needs 12 bytes, but the offsets give 8",
    ],
    ["a size past all numbers", file({ a: f32(0, 8, [2 ** 53 - 1, 2 ** 53 - 1]) }, 8), "but the offsets give 8"],
    ["offsets past the end", file({ a: f32(0, 2 ** 40) }, 4), "do not lie within the 4 bytes of data"],
    ["offsets backwards", file({ a: f32(4, 0, [1]) }, 4), "its bytes 4 .. 0 do not lie within"],
    ["overlap", file({ a: f32(0, 8), b: f32(4, 12) }, 12), 'tensor "b", byte '],
    ["gap", file({ a: f32(0, 4), b: f32(8, 12) }, 12), "a gap lies before its bytes"],
    ["trailing bytes", file({ a: f32(0, 4) }, 5), "the tensors end here, but 1 more bytes follow"],
    ["metadata of another kind", file({ __metadata__: { a: 1 } }, 0), "header, __metadata__, at a: expected string"],
  ])("refuses %s, naming file and place", async (_, bytes, message) => {
    const error = await open(bytes).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DataError);
    expect((error as DataError).message).toContain("m.safetensors: ");
    expect((error as DataError).message).toContain(message);
  });

  test("takes header keys that JavaScript knows as properties for names", async () => {
    const bytes = file(`{"__proto__":${JSON.stringify(f32(0, 4))}}`, 4);
    expect((await open(bytes)).entry("__proto__").size).toBe(1);
  });

  test("allocates nothing for a header that lies about its length", async () => {
    const reads: number[] = [];
    const bytes = file({ a: f32(0, 4) }, 4, { length: 99_999_999n });
    const source = memorySource(bytes, "m.safetensors");
    const read = (offset: number, length: number) => {
      reads.push(length);
      return source.read(offset, length);
    };
    await expect(openSafetensors({ ...source, read })).rejects.toThrow(DataError);
    expect(reads).toEqual([8]);
  });

  test("gives the data or a DataError for damaged and random bytes", async () => {
    const good = await encodeSafetensors(sample, { format: "pt" });
    const all = [
      ...mutations(good, { seed: 1, count: 3000, cuts: 1000 }),
      ...noise({ seed: 2, count: 500, maxBytes: 64 }),
    ];
    let refused = 0;
    for (const { label, bytes } of all) {
      const result = await valueOrDataError(label, "m.safetensors", async () => {
        const opened = await open(bytes);
        for (const [name, { bytes }] of opened.tensors) expect((await opened.read(name)).length).toBe(bytes);
      });
      if (result instanceof DataError) refused++;
    }
    expect(refused).toBeGreaterThan(all.length / 2);
  });
});

describe("half precision", () => {
  test("widens every float16 as the format defines it", () => {
    const all = widenF16(Uint16Array.from({ length: 65536 }, (_, i) => i));
    expect([0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x7c00, 0xfc00].map((i) => all[i])).toEqual([
      1,
      -2,
      65504,
      2 ** -24,
      1023 * 2 ** -24,
      2 ** -14,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ]);
    expect(Object.is(all[0x8000], -0)).toBe(true);
    expect(all[0x7e00]).toBeNaN();
    for (let i = 0; i < 0x7c00; i++)
      if (!(all[i + 1]! > all[i]!)) throw new Error(`0x${i.toString(16)} is not below its next`);
  });

  test("widens bfloat16 bits to the float32 of the same upper half", () => {
    expect(widenBf16(Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x0080))).toEqual(
      Float32Array.of(1, -2, Number.POSITIVE_INFINITY, 2 ** -126),
    );
  });
});
