import { createHash } from "node:crypto";
import { DataError } from "../errors.ts";
import { digestFile } from "../files/checksum.ts";
import { inside, type Place, parseJson } from "../files/json.ts";
import { openFile, pieces } from "../files/open.ts";
import type { ByteSource } from "../files/source.ts";
import type { Input } from "./inputs.ts";
import { readParquetText } from "./parquet.ts";

/** A piece of the documents of an input, in order. */
export interface DocumentPiece {
  bytes: Uint8Array;
  /** The document ends with this piece. */
  isEnd: boolean;
  /** With "tail": the part before the cut has ended, so the rest is for validation. */
  isTail: boolean;
  /** Where the document stands, for errors. */
  place: Place;
  /** How far the input is read, in bytes. */
  doneBytes: number;
}

export interface ReadOptions {
  /** Of JSON lines and Parquet. */
  textField: string;
  /** Share of a text file to give up as its tail; 0 for none. */
  tailShare: number;
}

/** Longest line of a JSON lines file; a line is held in memory whole. */
const maxLineBytes = 64 << 20;
const pieceBytes = 1 << 20;

/**
 * Reads the documents of one input piece by piece: a text file is one document, a line of JSON lines is one, a row of
 * Parquet is one. Memory is a piece or a line, or what decoding a column of one row group of Parquet takes.
 * @returns the input's SHA-256, when all is read
 * @throws DataError naming file and place
 */
export async function* readDocuments(input: Input, options: ReadOptions): AsyncGenerator<DocumentPiece, string> {
  const source = await openFile(input.path);
  try {
    if (input.kind === "parquet") {
      const { sha256 } = await digestFile(input.path);
      yield* parquetDocuments(input.path, options);
      return sha256;
    }
    const hash = createHash("sha256");
    const hashed: ByteSource = {
      ...source,
      async read(offset, length) {
        const bytes = await source.read(offset, length);
        hash.update(bytes);
        return bytes;
      },
    };
    if (input.kind === "jsonl") yield* jsonlDocuments(hashed, options);
    else yield* textDocument(hashed, await tailStart(source, options.tailShare));
    return hash.digest("hex");
  } finally {
    await source.close();
  }
}

async function* textDocument(source: ByteSource, cut: number): AsyncGenerator<DocumentPiece> {
  const place = { file: source.name };
  for (const [start, end] of [
    [0, cut],
    [cut, source.size],
  ] as const) {
    let doneBytes = start;
    for await (const bytes of pieces(source, { start, end, pieceBytes })) {
      doneBytes += bytes.length;
      yield { bytes, isEnd: doneBytes === end, isTail: start > 0, place, doneBytes };
    }
  }
}

/**
 * Where the tail of a text starts: after the first line that ends past its share, or else between two characters. The end
 * of the file if there is to be no tail.
 */
async function tailStart(source: ByteSource, share: number): Promise<number> {
  if (share === 0) return source.size;
  const target = Math.floor(source.size * (1 - share));
  const window = await source.read(target, Math.min(1 << 16, source.size - target));
  const newline = window.indexOf(0x0a);
  if (newline >= 0 && newline < window.length - 1) return target + newline + 1;
  const continuations = window.findIndex((byte) => byte >> 6 !== 2);
  return target + (continuations > 0 && continuations < 4 ? continuations : 0);
}

async function* jsonlDocuments(source: ByteSource, { textField }: ReadOptions): AsyncGenerator<DocumentPiece> {
  let line = 0;
  for await (const { bytes, doneBytes } of lines(source)) {
    line++;
    if (isBlank(bytes)) continue;
    const place = { file: source.name, within: `line ${line}` };
    yield { bytes: textOfRecord(bytes, textField, place), isEnd: true, isTail: false, place, doneBytes };
  }
}

function textOfRecord(bytes: Uint8Array, textField: string, place: Place): Uint8Array {
  const record = parseJson(bytes, place);
  const isObject = typeof record === "object" && record !== null && !Array.isArray(record);
  const text =
    isObject && Object.hasOwn(record, textField) ? (record as Record<string, unknown>)[textField] : undefined;
  if (text === null) return new Uint8Array();
  if (typeof text === "string") return new TextEncoder().encode(text);
  const fields = isObject ? Object.keys(record).slice(0, 20).join(", ").slice(0, 300) || "none" : "it is no object";
  const detail = `the record has no text in the field "${textField}" (fields: ${fields})`;
  throw new DataError(place.file, inside(place, "fields"), detail, "Name the field that holds the text.");
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x0d || byte === 0x09);
}

/** The lines of a source without their line feeds. */
async function* lines(source: ByteSource): AsyncGenerator<{ bytes: Uint8Array; doneBytes: number }> {
  let parts: Uint8Array[] = [];
  let length = 0;
  let [line, doneBytes] = [1, 0];
  const keep = (part: Uint8Array) => {
    parts.push(part);
    length += part.length;
    if (length <= maxLineBytes) return;
    const detail = `a line has at most ${maxLineBytes} bytes, but this one is longer`;
    throw new DataError(source.name, `line ${line}`, detail, "Is it JSON lines, one record a line?");
  };
  const take = () => {
    const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    [parts, length] = [[], 0];
    line++;
    return { bytes, doneBytes };
  };
  for await (const piece of pieces(source, { pieceBytes })) {
    let start = 0;
    for (let end = piece.indexOf(0x0a); end >= 0; end = piece.indexOf(0x0a, start)) {
      keep(piece.subarray(start, end));
      doneBytes += end + 1 - start;
      start = end + 1;
      yield take();
    }
    keep(piece.subarray(start));
    doneBytes += piece.length - start;
  }
  if (length > 0) yield take();
}

async function* parquetDocuments(path: string, { textField }: ReadOptions): AsyncGenerator<DocumentPiece> {
  for await (const { bytes, row, doneBytes } of readParquetText(path, { field: textField })) {
    const place = { file: path, within: `row ${row}` };
    yield { bytes: bytes ?? new Uint8Array(), isEnd: true, isTail: false, place, doneBytes };
  }
}
