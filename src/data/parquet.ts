import { crc32 } from "node:zlib";
import { type FileMetaData, parquetMetadata } from "hyparquet";
import { DataError, ScfaError } from "../errors.ts";
import type { ByteSource } from "../files/source.ts";
import type { Codecs } from "./codecs.ts";
import { type Dictionary, decodeDictionary, decodeValues, type PageLayout } from "./parquet_page.ts";
import { readThrift, ThriftError, type ThriftStruct } from "./thrift.ts";

export interface ParquetText {
  /** The text's bytes; undefined where the field is null. */
  bytes: Uint8Array | undefined;
  /** Row in the file, from 0. */
  row: number;
}

const maxFooterBytes = 64 << 20;
const maxFooterValues = 1_000_000;
const maxPageHeaderBytes = 16 << 20;
const maxPageBytes = 256 << 20;
/** Compression and runs may let a small file stand for endless text; no honest text comes near. */
const maxExpansion = 1000;
const freeBytes = 16 << 20;
const fix = "The file is damaged or cut short; get it again.";

interface Column {
  codec: string;
  isOptional: boolean;
  /** Bytes of the column's pages in the file. */
  start: number;
  end: number;
  rows: number;
}

/**
 * The texts of one column of a Parquet file, a page at a time, so that memory is one page and its dictionary. The footer is
 * read by hyparquet, after a check that it can be; pages are decoded here, because a hostile page makes the library's
 * decoders run on or take memory without bound.
 * @param field name of a top-level column of strings or bytes
 * @throws DataError naming the file and the place: what is no Parquet, damaged, of no such column, or of an encoding not known
 */
export async function* readParquetText(
  source: ByteSource,
  { field, codecs }: { field: string; codecs: Codecs },
): AsyncGenerator<ParquetText> {
  const { metadata, footerStart } = await readFooter(source);
  const isOptional = findField(source, metadata, field);
  let [row, bytesOut] = [0, 0];
  for (const [group, { columns, num_rows }] of metadata.row_groups.entries()) {
    const place = `row group ${group}`;
    const chunk = columns.find(({ meta_data: m }) => m?.path_in_schema.length === 1 && m.path_in_schema[0] === field);
    const meta = chunk?.meta_data;
    const rows = Number(num_rows);
    if (!meta || chunk.file_path)
      throw new DataError(source.name, place, `it has no column "${field}" in this file`, fix);
    const start = Number(meta.dictionary_page_offset || meta.data_page_offset);
    const end = start + Number(meta.total_compressed_size);
    if (!(Number.isSafeInteger(rows) && rows >= 0 && start >= 4 && start <= end && end <= footerStart)) {
      const detail = `bytes ${start} .. ${end} for ${rows} rows do not lie before the footer at byte ${footerStart}`;
      throw new DataError(source.name, `${place}, column "${field}"`, detail, fix);
    }
    const column = { codec: String(meta.codec), isOptional, start, end, rows };
    for await (const bytes of readColumn(source, column, { codecs, place })) {
      bytesOut += 1 + (bytes?.length ?? 0);
      if (bytesOut > freeBytes + maxExpansion * source.size) {
        throw new DataError(source.name, place, `the text is more than ${maxExpansion} times as long as the file`, fix);
      }
      yield { bytes, row: row++ };
    }
  }
}

async function readFooter(source: ByteSource): Promise<{ metadata: FileMetaData; footerStart: number }> {
  if (source.size < 12) throw new DataError(source.name, "length", "the file is too short to be Parquet", fix);
  const tail = await source.read(source.size - 8, 8);
  const length = new DataView(tail.buffer).getUint32(0, true);
  if (new TextDecoder().decode(tail.subarray(4)) !== "PAR1") {
    throw new DataError(
      source.name,
      `byte ${source.size - 4}`,
      "a Parquet file ends with PAR1, but this one does not",
      fix,
    );
  }
  const footerStart = source.size - 8 - length;
  if (footerStart < 4 || length > maxFooterBytes) {
    throw new DataError(source.name, `byte ${source.size - 8}`, `a footer of ${length} bytes cannot be`, fix);
  }
  const footer = await source.read(footerStart, length + 8);
  try {
    readThrift(footer.subarray(0, length), { maxValues: maxFooterValues, checkOnly: true });
    return { metadata: parquetMetadata(footer, { geoparquet: false }), footerStart };
  } catch (error) {
    throw damaged(source, "footer", error, footerStart);
  }
}

/** Checks the schema's element for a field; its siblings' children are stepped over. @returns whether it may be null */
function findField(source: ByteSource, { schema }: FileMetaData, field: string): boolean {
  const names: string[] = [];
  const depthLeft: number[] = [];
  for (let i = 1; i < schema.length; i++) {
    const element = schema[i]!;
    const isTop = depthLeft.length === 0;
    if (isTop && element.name === field) {
      if (element.num_children || element.repetition_type === "REPEATED" || element.type !== "BYTE_ARRAY") {
        const actual = element.num_children ? "a group" : `${element.repetition_type} ${element.type}`;
        throw new DataError(source.name, `column "${field}"`, `a column of strings is needed, but this is ${actual}`);
      }
      return element.repetition_type !== "REQUIRED";
    }
    if (isTop) names.push(element.name);
    else depthLeft[depthLeft.length - 1]!--;
    if (element.num_children) depthLeft.push(element.num_children);
    while (depthLeft.at(-1) === 0) depthLeft.pop();
  }
  const known = names.slice(0, 20).join(", ") || "none";
  throw new DataError(
    source.name,
    "schema",
    `there is no column "${field}" (columns: ${known})`,
    "Name the text field.",
  );
}

async function* readColumn(
  source: ByteSource,
  column: Column,
  { codecs, place }: { codecs: Codecs; place: string },
): AsyncGenerator<Uint8Array | undefined> {
  let dictionary: Dictionary | undefined;
  let rowsLeft = column.rows;
  let at = column.start;
  while (rowsLeft > 0) {
    const where = `${place}, page at byte ${at}`;
    try {
      if (at >= column.end) throw new Error(`the column ends ${rowsLeft} rows before the row group`);
      const { header, bodyStart } = await readPageHeader(source, at, column.end);
      const body = await source.read(bodyStart, header.compressedBytes);
      at = bodyStart + header.compressedBytes;
      if (header.crc !== undefined && crc32(body) !== header.crc >>> 0) throw new Error("the checksum does not match");
      if (header.kind === "dictionary") {
        const page = await codecs.decompress(column.codec, body, header.uncompressedBytes);
        dictionary = decodeDictionary(page, header.values);
      } else if (header.kind === "data") {
        const layout = { ...header, isOptional: column.isOptional };
        if (layout.values > rowsLeft) throw new Error(`${layout.values} values, but only ${rowsLeft} rows are left`);
        const page = await decompressPage(body, layout, { codecs, codec: column.codec });
        yield* decodeValues(page, layout, dictionary);
        rowsLeft -= layout.values;
      }
    } catch (error) {
      throw damaged(source, where, error);
    }
  }
}

interface PageHeader extends Omit<PageLayout, "isOptional"> {
  kind: "data" | "dictionary" | "other";
  compressedBytes: number;
  uncompressedBytes: number;
  crc: number | undefined;
  isCompressed: boolean;
}

async function readPageHeader(
  source: ByteSource,
  at: number,
  end: number,
): Promise<{ header: PageHeader; bodyStart: number }> {
  for (let length = 1024; ; length *= 16) {
    const bytes = await source.read(at, Math.min(length, end - at));
    try {
      const { fields, end: headerBytes } = readThrift(bytes, { maxValues: 10_000 });
      const header = parsePageHeader(fields);
      const bodyStart = at + headerBytes;
      if (bodyStart + header.compressedBytes > end) {
        throw new Error(`${header.compressedBytes} bytes of page do not fit in the column, which ends at byte ${end}`);
      }
      return { header, bodyStart };
    } catch (error) {
      const mayGrow = bytes.length < end - at && length < maxPageHeaderBytes;
      if (!(error instanceof ThriftError && error.isEarlyEnd && mayGrow)) throw error;
    }
  }
}

// The numbers are those of parquet.thrift (https://github.com/apache/parquet-format).
const pageTypes = { data: 0, index: 1, dictionary: 2, dataV2: 3 };

function parsePageHeader(fields: ThriftStruct): PageHeader {
  const type = integer(fields, 1, "page type");
  const common = {
    uncompressedBytes: integer(fields, 2, "uncompressed size", maxPageBytes),
    compressedBytes: integer(fields, 3, "compressed size", maxPageBytes),
    crc: fields.get(4) as number | undefined,
    isCompressed: true,
    encoding: 0,
    values: 0,
    levels: undefined,
  };
  if (common.crc !== undefined && typeof common.crc !== "number") throw new Error("the checksum is no number");
  if (type === pageTypes.index) return { ...common, kind: "other" };
  if (type === pageTypes.dictionary) {
    return { ...common, kind: "dictionary", values: integer(struct(fields, 7), 1, "number of values", maxPageValues) };
  }
  if (type === pageTypes.data) {
    const page = struct(fields, 5);
    const values = integer(page, 1, "number of values", maxPageValues);
    return { ...common, kind: "data", values, encoding: integer(page, 2, "encoding") };
  }
  if (type !== pageTypes.dataV2) throw new Error(`a page of type ${type} is not known`);
  const page = struct(fields, 8);
  if (integer(page, 6, "length of repetition levels") !== 0) throw new Error("the column must not be repeated");
  const levels = {
    bytes: integer(page, 5, "length of levels", common.compressedBytes),
    nulls: integer(page, 2, "number of nulls"),
  };
  return {
    ...common,
    kind: "data",
    values: integer(page, 1, "number of values", maxPageValues),
    encoding: integer(page, 4, "encoding"),
    isCompressed: page.get(7) !== false,
    levels,
  };
}

/** A page is usually thousands of values; its levels and places take some 10 bytes of memory each. */
const maxPageValues = 1 << 24;

/** Both parts of a version 2 page in one: its levels are never compressed, its values may be. */
async function decompressPage(
  body: Uint8Array,
  { levels, uncompressedBytes, isCompressed }: PageHeader,
  { codecs, codec }: { codecs: Codecs; codec: string },
): Promise<Uint8Array> {
  const start = levels?.bytes ?? 0;
  if (uncompressedBytes < start) throw new Error("the levels are longer than the page");
  const length = uncompressedBytes - start;
  const values = await codecs.decompress(isCompressed ? codec : "UNCOMPRESSED", body.subarray(start), length);
  if (start === 0) return values;
  const page = new Uint8Array(uncompressedBytes);
  page.set(body.subarray(0, start));
  page.set(values, start);
  return page;
}

function integer(fields: ThriftStruct, id: number, what: string, max = 2 ** 31): number {
  const value = fields.get(id);
  if (typeof value !== "number" || value < 0 || value > max) {
    const actual = typeof value === "number" ? `${value}` : "missing";
    throw new Error(`the ${what} must be 0 .. ${max}, but is ${actual}`);
  }
  return value;
}

function struct(fields: ThriftStruct, id: number): ThriftStruct {
  const value = fields.get(id);
  if (!(value instanceof Map)) throw new Error("the page header lacks its part for this type of page");
  return value;
}

/** Whatever a decoder threw, as an error that names the file and the place. */
function damaged(source: ByteSource, place: string, error: unknown, offset = 0): unknown {
  if (error instanceof ScfaError) return error;
  const where = error instanceof ThriftError && offset > 0 ? `${place}, byte ${offset + error.at}` : place;
  // A TypeError is the library's way of missing a part; its words speak of its code, not of the file.
  const isPlain = error instanceof Error && !(error instanceof TypeError || error instanceof RangeError);
  const message = isPlain ? error.message.replace(/\.$/, "") : "a part of it is missing or of another kind";
  const result = new DataError(source.name, where, message, message.includes("is not supported") ? "" : fix);
  result.cause = error;
  return result;
}
