import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ByteWriter } from "hyparquet-writer";
import { writePageHeader } from "hyparquet-writer/src/datapage.js";
import { writeMetadata } from "hyparquet-writer/src/metadata.js";
import { afterAll, describe, expect, test } from "vitest";
import { DataError } from "../errors.ts";
import { threefry2x32 } from "../rng.ts";
import { readParquetText } from "./parquet.ts";
import { ParquetDecoder } from "./parquetDecoder.ts";

const folder = mkdtempSync(join(tmpdir(), "parquet-"));
const path = join(folder, "a.parquet");
const limits = { baseMs: 1000, baseMemoryBytes: 256 << 20 };
const decoder = new ParquetDecoder(limits);
const patient = new ParquetDecoder({ ...limits, baseMs: 30_000 });
afterAll(async () => {
  await decoder.close();
  await patient.close();
  rmSync(folder, { recursive: true });
});

interface Page {
  body: Uint8Array;
  /** What the page's header says of it. */
  values: number;
  bytes?: number;
  encoding?: "PLAIN" | "RLE_DICTIONARY";
  isDictionary?: boolean;
}

interface Group {
  rows: number;
  pages: Page[];
  /** What the footer says of the group, where it is not so. */
  claims?: { textBytes?: number; start?: number; bytes?: number };
}

type Codec = "UNCOMPRESSED" | "SNAPPY" | "ZSTD" | "LZO";

/** A file of one column "text" whose headers say what they are told to say. */
function lyingFile(groups: Group[], codec: Codec = "UNCOMPRESSED"): Uint8Array {
  const writer = new ByteWriter();
  writer.appendBytes(Buffer.from("PAR1"));
  const row_groups = groups.map(({ rows, pages, claims = {} }) => {
    const start = writer.offset;
    for (const page of pages) writePage(writer, page);
    const meta_data = {
      type: "BYTE_ARRAY" as const,
      encodings: ["PLAIN" as const],
      path_in_schema: ["text"],
      codec,
      num_values: BigInt(rows),
      total_uncompressed_size: BigInt(claims.textBytes ?? 0),
      total_compressed_size: BigInt(claims.bytes ?? writer.offset - start),
      data_page_offset: BigInt(claims.start ?? start),
    };
    return { columns: [{ file_offset: 0n, meta_data }], total_byte_size: 0n, num_rows: BigInt(rows) };
  });
  const schema = [
    { name: "root", num_children: 1 },
    { name: "text", type: "BYTE_ARRAY" as const, repetition_type: "REQUIRED" as const },
  ];
  writeMetadata(writer, { version: 2, schema, num_rows: 1n, row_groups, metadata_length: 0 });
  writer.appendBytes(Buffer.from("PAR1"));
  return writer.getBytes();
}

function writePage(writer: ByteWriter, { body, values, bytes, encoding = "PLAIN", isDictionary }: Page): void {
  const levels = { definition_level_encoding: "RLE" as const, repetition_level_encoding: "RLE" as const };
  writePageHeader(writer, {
    type: isDictionary ? "DICTIONARY_PAGE" : "DATA_PAGE",
    uncompressed_page_size: bytes ?? body.length,
    compressed_page_size: body.length,
    ...(isDictionary
      ? { dictionary_page_header: { num_values: values, encoding } }
      : { data_page_header: { num_values: values, encoding, ...levels } }),
  });
  writer.appendBytes(body);
}

/** A file whose footer is these bytes. */
function footerFile(footer: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(footer.length);
  return Buffer.concat([Buffer.from("PAR1"), footer, length, Buffer.from("PAR1")]);
}

/** One text as it stands in a page. */
function plain(text: string): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  return Buffer.concat([length, Buffer.from(text)]);
}

/** Indices of 8 bits into a dictionary: `rows` times the first. */
function sameIndex(rows: number): Uint8Array {
  const bytes = [8];
  let rest = rows * 2;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Uint8Array.from([...bytes, rest, 0]);
}

// Huffman weights by an entropy table of one symbol with all of the probability: its states take no bits, for ever.
const endlessZstd = (() => {
  const tree = [6, 0xf0, 0x03, 0xff, 0xff, 0xff, 0xff];
  const literals = [(16 << 4) | 2, (20 << 6) & 255, 5, ...tree];
  const body = [...literals, ...new Array(40).fill(0xff)];
  const block = (body.length << 3) | (2 << 1) | 1;
  return Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 232, 3, 0, 0, block & 255, block >> 8, 0, ...body]);
})();

/** A list field of structs, of numbers or of lists that says it has 30 million elements. */
const hugeList = (field: number, type: number) => [(field << 4) | 9, 0xf0 | type, 0x80, 0x87, 0xa7, 0x0e];

/** A Zstandard frame of raw bytes and then as many equal ones. */
function zstdRun(raw: Uint8Array, run: number): Uint8Array {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(raw.length + run);
  const block = (type: number, length: number, isLast: boolean) => {
    const header = (length << 3) | (type << 1) | (isLast ? 1 : 0);
    return [header & 255, (header >> 8) & 255, header >> 16];
  };
  const parts = [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0), size, Uint8Array.from(block(0, raw.length, false)), raw];
  for (let left = run; left > 0; left -= 1 << 17) {
    parts.push(Uint8Array.of(...block(1, Math.min(left, 1 << 17), left <= 1 << 17), 120));
  }
  return Buffer.concat(parts);
}

const index = 1 << 22;

const hostile: [string, () => Uint8Array, string][] = [
  [
    "a page that keeps its decoder in a loop for ever",
    () => lyingFile([{ rows: 1, pages: [{ body: endlessZstd, values: 1, bytes: 1000 }] }], "ZSTD"),
    'row group 0, column "text": decoding it takes more than 1.0 s.',
  ],
  [
    "a gigabyte of zeros in a small page",
    () =>
      lyingFile(
        [
          {
            rows: 1,
            pages: [{ body: zstdRun(Uint8Array.of(252, 255, 255, 63), 2 ** 30 - 4), values: 1, bytes: 2 ** 30 }],
          },
        ],
        "ZSTD",
      ),
    'row group 0, column "text": decoding it takes more than ',
  ],
  [
    "a page that says it has two thousand million values",
    () =>
      lyingFile([
        {
          rows: 1,
          pages: [
            { body: plain("x"), values: 1, isDictionary: true },
            { body: sameIndex(2 ** 31 - 1), values: 2 ** 31 - 1, encoding: "RLE_DICTIONARY" },
          ],
        },
      ]),
    'row group 0, column "text": decoding it takes more than ',
  ],
  [
    "a page that says it decompresses to two gigabytes",
    () => lyingFile([{ rows: 1, pages: [{ body: plain("x"), values: 1, bytes: 2 ** 31 - 1 }] }], "SNAPPY"),
    'row group 0, column "text": ',
  ],
  [
    "endless text from one entry of a dictionary",
    () => {
      const pages: Page[] = [
        { body: plain("x".repeat(1000)), values: 1, isDictionary: true },
        { body: sameIndex(index), values: index, encoding: "RLE_DICTIONARY" },
      ];
      return lyingFile([{ rows: index, pages }]);
    },
    'row group 0, column "text": the text is more than 1000 times as long as the file.',
  ],
  [
    "a compression that is not known",
    () => lyingFile([{ rows: 1, pages: [{ body: plain("x"), values: 1 }] }], "LZO"),
    'row group 0, column "text": parquet unsupported compression codec: LZO.',
  ],
  [
    "more rows than values",
    () => lyingFile([{ rows: 2 ** 52, pages: [{ body: plain("x"), values: 1 }] }]),
    'row group 0, column "text": it has fewer values than rows.',
  ],
  [
    "as many batches as rows",
    () => lyingFile([{ rows: 2 ** 40, pages: [], claims: { textBytes: 2 ** 62 } }]),
    'row group 0, column "text": it has fewer values than rows.',
  ],
  [
    "a row group outside the file",
    () => lyingFile([{ rows: 1, pages: [], claims: { bytes: 2 ** 40 } }]),
    'row group 0, column "text": bytes 4 .. 1099511627780 for 1 rows do not lie before the footer',
  ],
  [
    "a thousand row groups in the same bytes",
    () => {
      const same = { rows: 1, pages: [], claims: { start: 4, bytes: 1000 } };
      const first = { rows: 1, pages: [{ body: new Uint8Array(2000), values: 1 }] };
      return lyingFile([first, ...new Array(1000).fill(same)]);
    },
    "footer: the row groups are longer than the file.",
  ],
  [
    "lists of lists in the footer, each said to have 30 million elements",
    () => footerFile(Uint8Array.from([...hugeList(2, 9), ...new Array(500).fill(hugeList(0, 9).slice(1)).flat()])),
    "footer: decoding it takes more than ",
  ],
  [
    "a number of a megabyte in the footer",
    () => footerFile(Uint8Array.from([0x16, ...new Uint8Array(1 << 20).fill(0xff), 0])),
    "footer: decoding it takes more than ",
  ],
];

describe("hostile files end in a DataError, soon and within the memory allowed", () => {
  test.each(hostile)("%s", async (_, make, message) => {
    writeFileSync(path, make());
    const of = message.includes("the text is more") ? patient : decoder;
    const before = process.memoryUsage.rss();
    const start = performance.now();
    const error = await (async () => {
      for await (const _ of readParquetText(path, { field: "text", decoder: of }));
    })().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DataError);
    expect((error as DataError).message).toContain(`${path}: ${message}`);
    expect(performance.now() - start).toBeLessThan(12_000);
    expect(process.memoryUsage.rss() - before).toBeLessThan(limits.baseMemoryBytes);
  });
});

test("a row group larger than the memory allowed is read batch by batch", async () => {
  // Half a gigabyte in 512 pages, each of one text of a million letters after some that no compression shortens.
  const texts = 512;
  const pages = Array.from({ length: texts }, (_, i) => {
    const head = Buffer.alloc(4 + 3000);
    head.writeUInt32LE(3000 + (1 << 20));
    for (let at = 4; at < head.length; at += 4) head.writeUInt32LE(threefry2x32([i, 0], [at, 0])[0]!, at);
    return { body: zstdRun(head, 1 << 20), values: 1, bytes: head.length + (1 << 20) };
  });
  const textBytes = texts * (3004 + (1 << 20));
  writeFileSync(path, lyingFile([{ rows: texts, pages, claims: { textBytes } }], "ZSTD"));
  let [rows, bytes] = [0, 0];
  for await (const text of readParquetText(path, { field: "text", decoder: patient })) {
    const head = Buffer.from(text.bytes!);
    if (head.readUInt32LE(0) !== threefry2x32([rows, 0], [4, 0])[0]) throw new Error(`row ${rows} is another`);
    rows++;
    bytes += head.length;
  }
  expect(rows).toBe(texts);
  expect(bytes + 4 * texts).toBe(textBytes);
});

test("a decoder ends when the program that asked it is killed, even if it would run for ever", async () => {
  writeFileSync(path, lyingFile([{ rows: 1, pages: [{ body: endlessZstd, values: 1, bytes: 1000 }] }], "ZSTD"));
  const program = `
    const [child, path] = process.argv.slice(1);
    const decoder = require("node:child_process").fork(child, { serialization: "advanced" });
    const requests = [{ kind: "open", path, field: "text" }, { kind: "group", index: 0, rows: 1, textBytes: 1 }];
    decoder.on("message", () => {
      const request = requests.shift();
      decoder.send({ ...request, memoryBytes: Infinity });
      if (request.kind === "group") setTimeout(() => console.log("it runs"), 100);
    });`;
  const child = fileURLToPath(new URL("./parquetChild.mjs", import.meta.url));
  const parent = spawn(process.execPath, ["-e", program, child, path], { stdio: ["ignore", "pipe", "inherit"] });
  await once(parent.stdout, "data");
  parent.kill("SIGKILL");
  await once(parent, "exit");
  // The decoder has this pipe too: it ends with the last of both.
  await once(parent.stdout.resume(), "end");
});
