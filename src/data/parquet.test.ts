import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, describe, expect, test } from "vitest";
import { mutations, noise, valueOrDataError } from "../../test/fuzz.ts";
import { DataError } from "../errors.ts";
import { readParquetText } from "./parquet.ts";
import { ParquetDecoder } from "./parquetDecoder.ts";

const folder = mkdtempSync(join(tmpdir(), "parquet-"));
const path = join(folder, "a.parquet");
const decoder = new ParquetDecoder();
afterAll(async () => {
  await decoder.close();
  rmSync(folder, { recursive: true });
});

async function read(bytes: Uint8Array, { field = "text", by = decoder } = {}): Promise<(string | null)[]> {
  writeFileSync(path, bytes);
  const texts: (string | null)[] = [];
  let lastDone = 0;
  for await (const { bytes: text, row, doneBytes } of readParquetText(path, { field, decoder: by })) {
    if (row !== texts.length) throw new Error(`row ${texts.length} is called ${row}`);
    if (!(doneBytes >= lastDone && doneBytes < bytes.length)) throw new Error(`${lastDone}, then ${doneBytes} bytes`);
    lastDone = doneBytes;
    texts.push(text ? Buffer.from(text).toString() : null);
  }
  return texts;
}

const compressors = {
  GZIP: (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes)),
  BROTLI: (bytes: Uint8Array) => new Uint8Array(brotliCompressSync(bytes)),
  // One frame of one segment, its blocks stored as they are.
  ZSTD: (bytes: Uint8Array) => {
    const block = (bytes.length << 3) | 1;
    const header = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, ...littleEndian(bytes.length, 4), ...littleEndian(block, 3)];
    return Uint8Array.from([...header, ...bytes]);
  },
  // Literals alone.
  LZ4_RAW: (bytes: Uint8Array) => {
    const more = bytes.length - 15;
    const length = more < 0 ? [] : [...new Array(Math.floor(more / 255)).fill(255), more % 255];
    return Uint8Array.from([Math.min(bytes.length, 15) << 4, ...length, ...bytes]);
  },
};

function littleEndian(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => (value >>> (8 * i)) & 255);
}

const codecs = ["SNAPPY", "UNCOMPRESSED", "GZIP", "BROTLI", "ZSTD", "LZ4_RAW"] as const;
const encodings = ["PLAIN", "RLE_DICTIONARY", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"] as const;

interface FileOptions {
  codec?: (typeof codecs)[number];
  encoding?: (typeof encodings)[number];
  rowGroupSize?: number;
  pageSize?: number;
}

function file(texts: readonly (string | null)[], options: FileOptions = {}): Uint8Array {
  const { codec = "SNAPPY", encoding, rowGroupSize = 1000, pageSize } = options;
  const text = { name: "text", data: [...texts], type: "STRING" as const, nullable: true };
  const columnData = [
    { name: "id", data: Int32Array.from(texts.keys()), type: "INT32" as const },
    encoding ? { ...text, encoding } : text,
    { name: "tags", data: texts.map(() => ["a", "b"]), type: "VARIANT" as const },
  ];
  const paging = pageSize === undefined ? {} : { pageSize };
  return new Uint8Array(parquetWriteBuffer({ columnData, codec, compressors, rowGroupSize, ...paging }));
}

const whales = Array.from({ length: 40 }, (_, i) => (i % 7 === 3 ? null : `whale ${i % 5} é🐋`.repeat(i % 4)));

describe("reading a column of text", () => {
  test("gives every row of every page and row group, for each compression and encoding", async () => {
    for (const codec of codecs) {
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

  test.each([
    ["missing", 'schema: there is no column "missing" (columns: id, text, tags). Name the text field.'],
    ["id", 'column "id": a column of strings is needed, but this is'],
    ["tags", 'column "tags": a column of strings is needed, but this is a group'],
    ["__proto__", 'there is no column "__proto__"'],
  ])("says what is wrong with the column %s", async (field, message) => {
    const error = await read(file(whales), { field }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DataError);
    expect((error as DataError).message).toContain(message);
  });

  test.each([
    ["empty", new Uint8Array(), "length: the file is too short to be Parquet"],
    ["text", Buffer.from("this is no Parquet file"), "byte 0: a Parquet file begins with PAR1"],
    ["cut short", file(whales).subarray(0, -1), "a Parquet file ends with PAR1"],
    ["all footer and more", Buffer.from("PAR1\xff\xff\0\0PAR1", "latin1"), "a footer of 65535 bytes cannot be"],
    ["without a footer", Buffer.from("PAR1\0\0\0\0PAR1"), "footer: "],
  ])("refuses a file that is %s", async (_, bytes, message) => {
    await expect(read(bytes)).rejects.toThrow(message);
  });

  test("works without a decoder of the caller's, which is ended with it", async () => {
    writeFileSync(path, file(whales));
    for await (const { bytes } of readParquetText(path, { field: "text" })) {
      expect(Buffer.from(bytes!).toString()).toBe(whales[0]);
      break;
    }
  });

  test("gives texts or a DataError for damaged and random bytes", async () => {
    // What runs for ever is to be ended soon.
    const by = new ParquetDecoder({ baseMs: 300, baseMemoryBytes: 192 << 20 });
    let readable = 0;
    for (const [i, encoding] of encodings.entries()) {
      const good = file(whales, { codec: codecs[(i * 5) % 6]!, encoding, rowGroupSize: 20, pageSize: 200 });
      const all = [
        ...mutations(good, { seed: 1, count: 150, cuts: 40 }),
        ...noise({ seed: 2, count: 20, maxBytes: 200 }),
      ];
      for (const { label, bytes } of all) {
        const result = await valueOrDataError(`${encoding}, ${label}`, path, () => read(bytes, { by }));
        if (Array.isArray(result)) readable++;
      }
    }
    await by.close();
    expect(readable).toBeGreaterThan(100);
  });
});
