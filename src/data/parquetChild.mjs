/**
 * The program of the process that decodes Parquet for parquet.ts. Hostile bytes can make hyparquet run on, or take memory
 * without bound until the engine aborts, so nothing else lives here: the other side kills it at a deadline, and a thread
 * of its own kills it when it is too large, or when that other side is gone. It answers one message at a time.
 */
import { Worker } from "node:worker_threads";
import {
  asyncBufferFromFile,
  cachedAsyncBuffer,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";

/** Rows of a group are decoded at most so many, and about so many bytes of text, at a time. */
const maxBatchRows = 1 << 19;
const batchBytes = 32 << 20;
/** Texts are sent in messages of about so many bytes. */
const pieceBytes = 1 << 20;

const memoryBytes = new Float64Array(new SharedArrayBuffer(8)).fill(Number.POSITIVE_INFINITY);
const watch = `
  const { workerData } = require("node:worker_threads");
  setInterval(() => {
    const isTooLarge = process.memoryUsage.rss() > workerData.memoryBytes[0];
    if (isTooLarge || process.ppid !== workerData.parent) process.kill(process.pid, "SIGKILL");
  }, 10);`;
new Worker(watch, { eval: true, workerData: { memoryBytes, parent: process.ppid } }).unref();
// Ctrl-C in a terminal reaches the whole group of processes; the other side decides what it means.
process.on("SIGINT", () => {});

const asBytes = (bytes) => bytes;
const parsers = { stringFromBytes: asBytes, jsonFromBytes: asBytes };
const open = {};

async function openFile({ path, field }) {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file, { parsers, geoparquet: false });
  checkField(parquetSchema(metadata).children, field);
  Object.assign(open, { file, metadata, field });
  return metadata.row_groups.map(({ num_rows, columns }) => {
    const meta = columns.find((column) => column.meta_data?.path_in_schema[0] === field)?.meta_data;
    return {
      rows: Number(num_rows),
      start: Number(meta?.dictionary_page_offset || meta?.data_page_offset),
      bytes: Number(meta?.total_compressed_size),
      textBytes: Number(meta?.total_uncompressed_size),
    };
  });
}

function checkField(columns, field) {
  const column = columns.find(({ element }) => element.name === field);
  if (!column) {
    const names = columns.slice(0, 20).map(({ element }) => element.name);
    const detail = `there is no column "${field}" (columns: ${names.join(", ").slice(0, 300) || "none"})`;
    throw Object.assign(new Error(detail), { place: "schema", fix: "Name the text field." });
  }
  const { type, repetition_type, num_children } = column.element;
  if (num_children || repetition_type === "REPEATED" || type !== "BYTE_ARRAY") {
    const detail = `a column of strings is needed, but this is ${num_children ? "a group" : `${repetition_type} ${type}`}`;
    throw Object.assign(new Error(detail), { place: `column "${field}"`, fix: "Name the text field." });
  }
}

async function* readGroup({ index, rows, textBytes }) {
  const { metadata, field } = open;
  const group = { ...metadata, row_groups: [metadata.row_groups[index]] };
  // Each batch asks for the whole column of the group again.
  const file = cachedAsyncBuffer(open.file, { minSize: 0 });
  const batchRows = Math.min(maxBatchRows, Math.max(1, Math.floor((rows * batchBytes) / textBytes)));
  for (let rowStart = 0; rowStart < rows; rowStart += batchRows) {
    const rowEnd = Math.min(rows, rowStart + batchRows);
    const options = { file, metadata: group, columns: [field], rowStart, rowEnd, compressors, parsers };
    const records = await parquetReadObjects(options);
    yield* pack(records, field);
  }
}

/** Texts one behind the other, with their lengths; -1 for null. */
function* pack(records, field) {
  let lengths = [];
  let texts = [];
  let length = 0;
  const piece = () => {
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const text of texts) {
      bytes.set(text, at);
      at += text.length;
    }
    return { lengths: Int32Array.from(lengths), bytes };
  };
  for (const record of records) {
    const text = record[field];
    if (text !== null && !(text instanceof Uint8Array)) {
      throw new Error(text === undefined ? "it has fewer values than rows" : "its values are no strings");
    }
    lengths.push(text ? text.length : -1);
    if (text) texts.push(text);
    length += text?.length ?? 0;
    if (length + 4 * lengths.length < pieceBytes) continue;
    yield piece();
    [lengths, texts, length] = [[], [], 0];
  }
  if (lengths.length > 0) yield piece();
}

async function answer({ kind, ...request }) {
  if (kind === "open") return openFile(request);
  if (kind === "group") open.pieces = readGroup(request);
  return (await open.pieces.next()).value;
}

process.on("message", async (request) => {
  memoryBytes[0] = request.memoryBytes;
  try {
    process.send({ value: await answer(request) });
  } catch (error) {
    // Such errors are the library's way of missing a part; their words speak of its code, not of the file.
    const isPlain = !(error instanceof TypeError || error instanceof RangeError);
    const message = isPlain ? error.message : "a part of it is missing or of another kind";
    process.send({ failure: { message, place: error.place, fix: error.fix } });
  }
});
process.send({});
