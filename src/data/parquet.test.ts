import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, describe, expect, test } from "vitest";
import { mutations, noise, valueOrDataError } from "../../test/fuzz.ts";
import { DataError } from "../errors.ts";
import { memorySource } from "../files/source.ts";
import { openCodecs } from "./codecs.ts";
import { readParquetText } from "./parquet.ts";
import { decodeDictionary, decodeValues } from "./parquet_page.ts";
import { readRuns } from "./parquet_runs.ts";
import { readThrift, ThriftError } from "./thrift.ts";

const codecs = openCodecs();
afterAll(() => codecs.close());

async function read(bytes: Uint8Array, field = "text"): Promise<(string | null)[]> {
  const texts: (string | null)[] = [];
  for await (const { bytes: text, row } of readParquetText(memorySource(bytes, "a.parquet"), { field, codecs })) {
    expect(row).toBe(texts.length);
    texts.push(text ? Buffer.from(text).toString() : null);
  }
  return texts;
}

type Codec = "SNAPPY" | "GZIP" | "UNCOMPRESSED";
interface FileOptions {
  codec?: Codec;
  encoding?: "PLAIN" | "RLE_DICTIONARY" | "DELTA_LENGTH_BYTE_ARRAY" | "DELTA_BYTE_ARRAY";
  rowGroupSize?: number;
  pageSize?: number;
}

function file(
  texts: readonly (string | null)[],
  { codec = "SNAPPY", encoding, rowGroupSize = 1000, pageSize }: FileOptions = {},
) {
  const text = { name: "text", data: [...texts], type: "STRING" as const, nullable: true };
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: "id", data: Int32Array.from(texts.keys()), type: "INT32" },
        encoding ? { ...text, encoding } : text,
        { name: "tags", data: texts.map(() => ["a", "b"]), type: "VARIANT" },
      ],
      codec,
      compressors: { GZIP: (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes)) },
      rowGroupSize,
      ...(pageSize === undefined ? {} : { pageSize }),
    }),
  );
}

const encodings = ["PLAIN", "RLE_DICTIONARY", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"] as const;
const whales = Array.from({ length: 40 }, (_, i) => (i % 7 === 3 ? null : `whale ${i % 5} é🐋`.repeat(i % 4)));

describe("reading a column of text", () => {
  test("gives every row of every page and row group, for each compression and encoding", async () => {
    for (const codec of ["SNAPPY", "GZIP", "UNCOMPRESSED"] as const) {
      for (const encoding of encodings) {
        const bytes = file(whales, { codec, encoding, rowGroupSize: 15, pageSize: 64 });
        expect(await read(bytes), `${codec} ${encoding}`).toEqual(whales);
      }
    }
  });

  test("gives any strings that were written", async () => {
    const texts = fc.array(fc.option(fc.string({ unit: "grapheme", maxLength: 9 })), { minLength: 1, maxLength: 40 });
    const check = async (texts: (string | null)[], rowGroupSize: number, encoding: (typeof encodings)[number]) => {
      expect(await read(file(texts, { rowGroupSize, encoding, pageSize: 50 }))).toEqual(
        texts.map((t) => t?.toWellFormed() ?? null),
      );
    };
    await fc.assert(fc.asyncProperty(texts, fc.integer({ min: 1, max: 20 }), fc.constantFrom(...encodings), check), {
      numRuns: 60,
    });
  });

  test("holds a page at a time", async () => {
    const bytes = file(
      Array.from({ length: 4000 }, (_, i) => `${i}`.repeat(20)),
      { codec: "UNCOMPRESSED", pageSize: 4096 },
    );
    const source = memorySource(bytes, "a.parquet");
    let largest = 0;
    const watched = {
      ...source,
      read(offset: number, length: number) {
        if (offset + length < source.size) largest = Math.max(largest, length);
        return source.read(offset, length);
      },
    };
    let rows = 0;
    for await (const _ of readParquetText(watched, { field: "text", codecs })) rows++;
    expect(rows).toBe(4000);
    expect(largest).toBeLessThan(10_000);
  });

  test.each([
    ["missing", 'schema: there is no column "missing" (columns: id, text, tags). Name the text field.'],
    ["id", "a column of strings is needed, but this is"],
    ["tags", "a column of strings is needed, but this is a group"],
  ])("says what is wrong with the column %s", async (field, message) => {
    const error = await read(file(whales), field).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DataError);
    expect((error as DataError).message).toContain(message);
  });

  test.each([
    ["empty", new Uint8Array(), "length: the file is too short to be Parquet"],
    ["text", Buffer.from("this is no Parquet file"), "byte 19: a Parquet file ends with PAR1"],
    [
      "a footer longer than the file",
      Uint8Array.from([...Buffer.from("PAR1"), 255, 255, 0, 0, ...Buffer.from("PAR1")]),
      "a footer of 65535 bytes cannot be",
    ],
    ["an empty footer", Uint8Array.from([...Buffer.from("PAR1"), 0, 0, 0, 0, ...Buffer.from("PAR1")]), "footer"],
  ])("refuses a file that is %s", async (_, bytes, message) => {
    await expect(read(bytes)).rejects.toThrow(message);
  });

  test("gives texts or a DataError for damaged and random bytes, quickly", async () => {
    for (const options of [
      { encoding: "RLE_DICTIONARY" },
      { codec: "UNCOMPRESSED", encoding: "PLAIN" },
      { codec: "GZIP", encoding: "DELTA_BYTE_ARRAY" },
      { encoding: "DELTA_LENGTH_BYTE_ARRAY" },
    ] as const) {
      const good = file(whales, { ...options, rowGroupSize: 20, pageSize: 200 });
      const all = [
        ...mutations(good, { seed: 1, count: 800, cuts: 200 }),
        ...noise({ seed: 2, count: 100, maxBytes: 200 }),
      ];
      for (const { label, bytes } of all) await valueOrDataError(label, "a.parquet", () => read(bytes));
    }
  });
});

describe("pages", () => {
  const plain = (...texts: string[]) => {
    const parts = texts.map((text) => [text.length, 0, 0, 0, ...Buffer.from(text)]);
    return Uint8Array.from(parts.flat());
  };
  const strings = (values: Iterable<Uint8Array | undefined>) => [...values].map((v) => v && Buffer.from(v).toString());
  const layout = { values: 4, encoding: 0, isOptional: true, levels: undefined };

  test("of version 1 carry their levels with a length before them", () => {
    // Levels 1 1 0 1: one packed group of eight, bits from the lowest.
    const page = Uint8Array.from([2, 0, 0, 0, 3, 0b1011, ...plain("a", "", "bc")]);
    expect(strings(decodeValues(page, layout, undefined))).toEqual(["a", "", undefined, "bc"]);
    const required = { ...layout, isOptional: false, values: 2 };
    expect(strings(decodeValues(plain("x", "y"), required, undefined))).toEqual(["x", "y"]);
  });

  test("with indices look their strings up, in runs and in packed groups", () => {
    const dictionary = decodeDictionary(plain("zero", "one", "two"), 3);
    // Two bits; a run of three "two", then a packed group 0 1 2 0 ...
    const page = Uint8Array.from([2, 6, 2, 3, 0b00100100, 0]);
    const indexed = { ...layout, values: 7, encoding: 8, isOptional: false };
    expect(strings(decodeValues(page, indexed, dictionary))).toEqual([
      "two",
      "two",
      "two",
      "zero",
      "one",
      "two",
      "zero",
    ]);
    const outside = Uint8Array.from([2, 14, 3]);
    expect(() => strings(decodeValues(outside, indexed, dictionary))).toThrow("index 3 is outside the dictionary of 3");
    expect(() => strings(decodeValues(page, indexed, undefined))).toThrow("needs a dictionary");
    const unknown = { ...indexed, encoding: 9 };
    expect(() => strings(decodeValues(page, unknown, dictionary))).toThrow("encoding number 9 is not supported");
  });

  test("that lie about their lengths are refused before anything is taken for them", () => {
    const required = { ...layout, isOptional: false, values: 1 << 24 };
    expect(() => strings(decodeValues(plain("a"), required, undefined))).toThrow("16777216 strings do not fit");
    expect(() => decodeDictionary(plain("a"), 1 << 24)).toThrow("do not fit");
    const long = Uint8Array.from([255, 255, 255, 255, 0, 0, 0, 0]);
    expect(() => strings(decodeValues(long, { ...required, values: 1 }, undefined))).toThrow("past the page's end");
    expect(() => strings(decodeValues(Uint8Array.of(9, 0, 0, 0), layout, undefined))).toThrow("longer than the page");
  });

  test("hold packed numbers of every width", () => {
    for (let bits = 1; bits <= 32; bits++) {
      const numbers = Array.from({ length: 16 }, (_, i) => Math.floor((2 ** bits - 1) / (i + 1)));
      const packed = numbers.reduce((all, n, i) => all | (BigInt(n) << BigInt(i * bits)), 0n);
      const body = Array.from({ length: 2 * bits }, (_, i) => Number((packed >> BigInt(8 * i)) & 255n));
      expect([...readRuns(Uint8Array.from([5, ...body]), { bits, count: 16 })]).toEqual(numbers);
      const run = Array.from({ length: Math.ceil(bits / 8) }, (_, i) => (i === 0 ? 1 : 0));
      expect([...readRuns(Uint8Array.from([6, ...run]), { bits, count: 3 })]).toEqual([1, 1, 1]);
    }
  });
});

describe("readThrift", () => {
  test("reads each kind of value", () => {
    const bytes = Uint8Array.of(
      0x11,
      0x12,
      0x13,
      0xff,
      0x15,
      3,
      0x16,
      4,
      0x18,
      2,
      104,
      105,
      0x19,
      0x25,
      2,
      4,
      0x1c,
      0x15,
      2,
      0,
      0,
      99,
    );
    const { fields, end } = readThrift(bytes);
    expect(end).toBe(bytes.length - 1);
    expect([...fields.values()].slice(0, 5)).toEqual([true, false, -1, -2, 2n]);
    expect(Buffer.from(fields.get(6) as Uint8Array).toString()).toBe("hi");
    expect(fields.get(7)).toEqual([1, 2]);
    expect(fields.get(8)).toEqual(new Map([[1, 1]]));
  });

  test.each([
    ["lists longer than the bytes", [0x19, 0xf5, 0xff, 0xff, 0xff, 0xff, 7], "end too early"],
    ["strings longer than the bytes", [0x18, 0xff, 0xff, 0xff, 0xff, 15], "end too early"],
    ["numbers without an end", [0x15, ...new Array(20).fill(0xff)], "longer than 32 bits"],
    ["long numbers without an end", [0x16, ...new Array(20).fill(0xff)], "longer than 64 bits"],
    ["endless nesting", new Array(1000).fill(0x1c), "nested deeper"],
    ["nested lists", [0x19, ...new Array(1000).fill(0x19)], "nested deeper"],
    ["maps, which Parquet has not", [0x1b, 0], "unknown type 11"],
    ["no end", [0x15, 2], "end too early"],
  ])("refuses %s", (_, bytes, message) => {
    expect(() => readThrift(Uint8Array.from(bytes))).toThrow(ThriftError);
    expect(() => readThrift(Uint8Array.from(bytes))).toThrow(message);
  });

  test("stops at the number of values allowed", () => {
    const bytes = Uint8Array.from([0x19, 0xf3, 100, ...new Array(100).fill(0), 0]);
    expect(readThrift(bytes, { maxValues: 101 }).end).toBe(bytes.length);
    expect(() => readThrift(bytes, { maxValues: 100 })).toThrow("too many values");
  });
});
