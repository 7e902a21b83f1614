import { DataError } from "../errors.ts";
import { openFile } from "../files/open.ts";
import type { ByteSource } from "../files/source.ts";
import { DecodeError, ParquetDecoder } from "./parquetDecoder.ts";

export interface ParquetText {
  /** The text's bytes; undefined where the field is null. */
  bytes: Uint8Array | undefined;
  /** Row in the file, from 0. */
  row: number;
  /** How far the file is read, in bytes. */
  doneBytes: number;
}

/** What the footer says of one row group: its rows, and its column's bytes in the file and in memory. */
interface RowGroup {
  rows: number;
  start: number;
  bytes: number;
  textBytes: number;
}

interface Piece {
  /** In bytes; -1 for null. */
  lengths: Int32Array;
  bytes: Uint8Array;
}

const magic = "PAR1";
const maxFooterBytes = 64 << 20;
/** Compression and runs may let a small file stand for endless text; no honest text comes near. */
const maxExpansion = 1000;
const freeBytes = 16 << 20;
const damaged = "The file is damaged or cut short; get it again.";

/**
 * The texts of one column of a Parquet file in order, a piece of a row group at a time. hyparquet reads the file in a
 * process of its own, under limits of time and memory in proportion to the file, because hostile bytes can make it run on
 * or take memory without bound.
 * @param field name of a top-level column of strings or bytes
 * @param decoder stays open for further files; without it one is started and ended
 * @throws DataError naming the file and the place: what is no Parquet, damaged, without such a column, of a compression or
 * encoding not known, or beyond the limits
 */
export async function* readParquetText(
  path: string,
  { field, decoder }: { field: string; decoder?: ParquetDecoder },
): AsyncGenerator<ParquetText> {
  const { size, footerStart } = await checkEnds(path);
  const reader = decoder ?? new ParquetDecoder();
  try {
    reader.begin();
    reader.beginPart(size - footerStart);
    const groups = await at(path, "footer", () => reader.ask<RowGroup[]>({ kind: "open", path, field }));
    checkGroups(path, groups, { field, footerStart });
    let [row, textBytes] = [0, 0];
    for (const [index, group] of groups.entries()) {
      const place = `row group ${index}, column "${field}"`;
      reader.beginPart(group.bytes);
      let kind: "group" | "next" = "group";
      let doneRows = 0;
      while (doneRows < group.rows) {
        const piece = await at(path, place, () => reader.ask<Piece>({ kind, index, ...group }));
        kind = "next";
        doneRows += piece.lengths.length;
        textBytes += piece.bytes.length + piece.lengths.length;
        if (textBytes > freeBytes + maxExpansion * size) {
          throw new DataError(path, place, `the text is more than ${maxExpansion} times as long as the file`);
        }
        const doneBytes = group.start + Math.floor((group.bytes * doneRows) / group.rows);
        for (const bytes of texts(piece)) yield { bytes, row: row++, doneBytes };
      }
    }
  } finally {
    if (!decoder) await reader.close();
  }
}

/** Refuses what cannot be Parquet before anything is started for it. */
async function checkEnds(path: string): Promise<{ size: number; footerStart: number }> {
  await using source = await openFile(path);
  const { size } = source;
  if (size < 12) throw new DataError(path, "length", "the file is too short to be Parquet", damaged);
  for (const [offset, what] of [
    [0, "begins"],
    [size - 4, "ends"],
  ] as const) {
    if ((await ascii(source, offset)) === magic) continue;
    throw new DataError(path, `byte ${offset}`, `a Parquet file ${what} with ${magic}, but this one does not`, damaged);
  }
  const length = new DataView((await source.read(size - 8, 4)).buffer).getUint32(0, true);
  const footerStart = size - 8 - length;
  if (footerStart < 4 || length > maxFooterBytes) {
    throw new DataError(path, `byte ${size - 8}`, `a footer of ${length} bytes cannot be`, damaged);
  }
  return { size, footerStart };
}

async function ascii(source: ByteSource, offset: number): Promise<string> {
  return new TextDecoder().decode(await source.read(offset, 4));
}

/** The limits stand in proportion to these sizes, so they must be true: in the file, and each byte in one group only. */
function checkGroups(path: string, groups: RowGroup[], options: { field: string; footerStart: number }): void {
  const { field, footerStart } = options;
  let totalBytes = 0;
  for (const [index, { rows, start, bytes }] of groups.entries()) {
    totalBytes += bytes;
    if (Number.isSafeInteger(rows) && rows >= 0 && bytes >= 0 && start >= 4 && start + bytes <= footerStart) continue;
    const detail = Number.isNaN(start + bytes)
      ? "the group has no such column"
      : `bytes ${start} .. ${start + bytes} for ${rows} rows do not lie before the footer at byte ${footerStart}`;
    throw new DataError(path, `row group ${index}, column "${field}"`, detail, damaged);
  }
  if (totalBytes > footerStart) throw new DataError(path, "footer", "the row groups are longer than the file", damaged);
}

function* texts({ lengths, bytes }: Piece): Generator<Uint8Array | undefined> {
  let end = 0;
  for (const length of lengths) {
    end += Math.max(0, length);
    yield length < 0 ? undefined : bytes.subarray(end - length, end);
  }
}

/** The decoder's failures as errors that name the file and the place. */
async function at<V>(path: string, place: string, ask: () => Promise<V>): Promise<V> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    const isUnknown = /not supported|unsupported/.test(error.message);
    throw new DataError(path, error.place ?? place, error.message, error.fix ?? (isUnknown ? "" : damaged));
  }
}
