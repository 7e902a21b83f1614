import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import zlib from "node:zlib";

/**
 * Decompression of untrusted pages: the output is never longer than the length promised, a page that gives another length
 * is an error, and no input can make it run on. (hyparquet-compressors trusts its input: among others a Zstandard weight
 * table whose states need no bits keeps its decoder in a loop for ever.)
 */
export interface Codecs {
  /** @throws Error saying what is wrong with the bytes */
  decompress(codec: string, bytes: Uint8Array, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

export function openCodecs({ timeoutMs = 20_000 }: { timeoutMs?: number } = {}): Codecs {
  const zstd = nativeZstd ?? zstdWorker(timeoutMs);
  const byName: Record<string, (bytes: Uint8Array, length: number) => Uint8Array | Promise<Uint8Array>> = {
    UNCOMPRESSED: (bytes) => bytes,
    GZIP: (bytes, length) => zlib.gunzipSync(bytes, { maxOutputLength: Math.max(1, length) }),
    BROTLI: (bytes, length) => zlib.brotliDecompressSync(bytes, { maxOutputLength: Math.max(1, length) }),
    SNAPPY: unsnappy,
    LZ4_RAW: unlz4,
    ZSTD: zstd.decompress,
  };
  return {
    async decompress(codec, bytes, length) {
      const decompress = byName[codec];
      if (!decompress) throw new Error(`the compression ${codec} is not supported; use snappy, gzip or zstd`);
      const result = await decompress(bytes, length);
      if (result.length !== length) {
        throw new Error(`the page must decompress to ${length} bytes, but gives ${result.length}`);
      }
      return result;
    },
    close: zstd.close,
  };
}

/** Copies within the output, byte by byte where source and target overlap. */
class Output {
  readonly bytes: Uint8Array;
  length = 0;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
  }

  literal(input: Uint8Array, start: number, length: number): void {
    if (start + length > input.length) throw new Error("the compressed bytes end too early");
    this.#room(length);
    this.bytes.set(input.subarray(start, start + length), this.length);
    this.length += length;
  }

  repeat(distance: number, length: number): void {
    if (distance === 0 || distance > this.length) throw new Error("a copy reaches before the start of the page");
    this.#room(length);
    for (let i = 0; i < length; i++, this.length++) this.bytes[this.length] = this.bytes[this.length - distance]!;
  }

  done(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  #room(length: number): void {
    if (this.length + length > this.bytes.length) throw new Error("the page decompresses to more than it promises");
  }
}

/** Source: the Snappy format description (https://github.com/google/snappy/blob/main/format_description.txt). */
export function unsnappy(input: Uint8Array, length: number): Uint8Array {
  const output = new Output(length);
  let at = 0;
  while (at < Math.min(input.length, 5) && input[at]! >= 128) at++;
  at++; // The length itself, which the page header has told already.
  while (at < input.length) {
    const tag = input[at++]!;
    if ((tag & 3) === 0) {
      const extra = Math.max(0, (tag >> 2) - 59);
      const size = 1 + (extra === 0 ? tag >> 2 : littleEndian(input, at, extra));
      output.literal(input, at + extra, size);
      at += extra + size;
    } else if ((tag & 3) === 1) {
      output.repeat(((tag >> 5) << 8) | littleEndian(input, at, 1), 4 + ((tag >> 2) & 7));
      at += 1;
    } else {
      const bytes = (tag & 3) === 2 ? 2 : 4;
      output.repeat(littleEndian(input, at, bytes), 1 + (tag >> 2));
      at += bytes;
    }
  }
  return output.done();
}

/** Source: the LZ4 block format description (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md). */
export function unlz4(input: Uint8Array, length: number): Uint8Array {
  const output = new Output(length);
  let at = 0;
  const extended = (first: number) => {
    if (first < 15) return first;
    let size = first;
    for (let byte = 255; byte === 255; size += byte) byte = littleEndian(input, at++, 1);
    return size;
  };
  while (at < input.length) {
    const token = input[at++]!;
    const literals = extended(token >> 4);
    output.literal(input, at, literals);
    at += literals;
    if (at >= input.length) break; // The last sequence is literals alone.
    const distance = littleEndian(input, at, 2);
    at += 2;
    output.repeat(distance, 4 + extended(token & 15));
  }
  return output.done();
}

function littleEndian(input: Uint8Array, at: number, bytes: number): number {
  if (at + bytes > input.length) throw new Error("the compressed bytes end too early");
  let value = 0;
  for (let i = 0; i < bytes; i++) value += input[at + i]! * 2 ** (8 * i);
  return value;
}

interface Zstd {
  decompress(bytes: Uint8Array, length: number): Uint8Array | Promise<Uint8Array>;
  close(): Promise<void>;
}

type Inflate = (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;
// Node has it from 22.15 on.
const inflate = (zlib as { zstdDecompressSync?: Inflate }).zstdDecompressSync;
const nativeZstd: Zstd | undefined = inflate && {
  decompress: (bytes, length) => inflate(bytes, { maxOutputLength: Math.max(1, length) }),
  close: async () => {},
};

/** What the worker runs: the output is collected only up to the length promised. */
const workerSource = `
const { parentPort, workerData } = require("node:worker_threads");
const { Decompress } = require(workerData);
parentPort.on("message", ({ bytes, length }) => {
  const output = new Uint8Array(length);
  let at = 0;
  try {
    new Decompress((chunk) => {
      if (at + chunk.length > length) throw new Error("the page decompresses to more than it promises");
      output.set(chunk, at);
      at += chunk.length;
    }).push(bytes, true);
    parentPort.postMessage({ output: output.subarray(0, at) });
  } catch (error) {
    parentPort.postMessage({ message: error.message });
  }
});`;

/** Zstandard where Node has none of its own: in a worker that is ended when it takes too long. */
export function zstdWorker(timeoutMs: number): Zstd {
  let worker: Worker | undefined;
  const close = async () => {
    const ending = worker;
    worker = undefined;
    await ending?.terminate();
  };
  const decompress = async (bytes: Uint8Array, length: number): Promise<Uint8Array> => {
    checkWindow(bytes);
    worker ??= startZstdWorker();
    const answer = await ask(worker, { bytes, length }, timeoutMs).catch(async (error: unknown) => {
      // It may be running still, or gone: the next page gets a new one.
      await close();
      throw error;
    });
    if (answer.output) return answer.output;
    throw new Error(`the Zstandard bytes are damaged (${answer.message})`);
  };
  return { decompress, close };
}

interface Answer {
  output?: Uint8Array;
  message?: string;
}

function startZstdWorker(): Worker {
  const require = createRequire(import.meta.url);
  const path = createRequire(require.resolve("hyparquet-compressors")).resolve("fzstd");
  const worker = new Worker(workerSource, {
    eval: true,
    workerData: path,
    resourceLimits: { maxOldGenerationSizeMb: 512 },
  });
  worker.unref();
  return worker;
}

function ask(worker: Worker, request: { bytes: Uint8Array; length: number }, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(new Error(`the page takes more than ${timeoutMs / 1000} s`)), timeoutMs);
    const onMessage = (answer: Answer) => finish(answer);
    const onExit = () => finish(new Error("the Zstandard decoder ran out of memory"));
    const onError = (error: Error) => finish(error);
    function finish(result: Answer | Error): void {
      clearTimeout(timer);
      worker.off("message", onMessage).off("error", onError).off("exit", onExit);
      if (result instanceof Error) reject(result);
      else resolve(result);
    }
    worker.on("message", onMessage).on("error", onError).on("exit", onExit);
    worker.postMessage(request);
  });
}

/** The window is memory that the decoder takes before it reads anything; the format's tools stop at the same size. */
const maxWindowBytes = 128 << 20;

function checkWindow(bytes: Uint8Array): void {
  const isSingleSegment = ((bytes[4] ?? 0) >> 5) & 1;
  const exponent = (bytes[5] ?? 0) >> 3;
  if (!isSingleSegment && 2 ** (10 + exponent) > maxWindowBytes) {
    throw new Error(`the Zstandard window is larger than ${maxWindowBytes} bytes`);
  }
}
