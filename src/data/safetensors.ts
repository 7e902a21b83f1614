import { z } from "zod";
import { DataError, ShapeError } from "../errors.ts";
import { checkSchema, parseJson } from "../files/json.ts";
import { type ByteSource, memorySource } from "../files/source.ts";

/**
 * Element types by their names in the format, with their sizes in bytes; all of them can be read and written as raw
 * bytes. Source: the safetensors format description (https://github.com/huggingface/safetensors).
 */
export const elementBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

export type SafetensorsType = keyof typeof elementBytes;

export interface TensorEntry {
  readonly name: string;
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly size: number;
  /** First byte in the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** A tensor to be written. `data` holds the elements in row-major order, little-endian, or makes them when their turn comes. */
export interface TensorToWrite {
  name: string;
  dtype: SafetensorsType;
  shape: readonly number[];
  data: ArrayBufferView | (() => ArrayBufferView | Promise<ArrayBufferView>);
}

export interface Elements {
  /** First element to read; 0 if left out. */
  start?: number;
  /** How many; all from `start` if left out. */
  count?: number;
}

/** The format's own limit for the header. */
const maxHeaderBytes = 100_000_000;
const metadataKey = "__metadata__";
const headerFix = "The file is damaged or no safetensors file.";

const entrySchema = z.object({
  dtype: z.enum(Object.keys(elementBytes) as SafetensorsType[]),
  shape: z.array(z.int().min(0)).max(32),
  data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
});
const metadataSchema = z.record(z.string(), z.string());

/** An opened safetensors file: the header checked, the tensors read one at a time on demand. */
export class Safetensors {
  /** Use `openSafetensors`. */
  constructor(
    private readonly source: ByteSource,
    /** The file's `__metadata__`, empty if it has none. */
    readonly metadata: Readonly<Record<string, string>>,
    /** Every tensor by name, in the order of their bytes in the file. */
    readonly tensors: ReadonlyMap<string, TensorEntry>,
  ) {}

  /** What errors call the file. */
  get name(): string {
    return this.source.name;
  }

  /**
   * The entry of a tensor.
   * @throws DataError if the file has none of that name, or (where given) not that shape
   */
  entry(name: string, shape?: readonly number[]): TensorEntry {
    const entry = this.tensors.get(name);
    if (!entry) throw new DataError(this.source.name, `tensor "${name}"`, "the file has no tensor of this name");
    if (shape && (shape.length !== entry.shape.length || shape.some((d, i) => d !== entry.shape[i]))) {
      const detail = `the shape must be [${shape.join(", ")}], but is [${entry.shape.join(", ")}]`;
      throw new DataError(this.source.name, `tensor "${name}"`, detail);
    }
    return entry;
  }

  /**
   * The raw little-endian bytes of a tensor or of a run of its elements.
   * @throws DataError
   */
  async read(name: string, { start = 0, count }: Elements = {}): Promise<Uint8Array<ArrayBuffer>> {
    const entry = this.entry(name);
    const length = count ?? entry.size - start;
    if (
      !(Number.isInteger(start) && Number.isInteger(length)) ||
      start < 0 ||
      length < 0 ||
      start + length > entry.size
    ) {
      throw new ShapeError(
        "safetensors read",
        `elements must lie within the ${entry.size} of "${name}"`,
        `${start} .. ${start + length}`,
      );
    }
    const each = elementBytes[entry.dtype];
    return this.source.read(entry.offset + start * each, length * each);
  }

  /**
   * A tensor of F32, F16, BF16 or F64, or a run of its elements, as float32.
   * @throws DataError if it has another element type
   */
  async readF32(name: string, elements: Elements = {}): Promise<Float32Array<ArrayBuffer>> {
    const { dtype } = this.entry(name);
    const { buffer } = await this.read(name, elements);
    if (dtype === "F32") return new Float32Array(buffer);
    if (dtype === "F64") return Float32Array.from(new Float64Array(buffer));
    if (dtype === "BF16") return widenBf16(new Uint16Array(buffer));
    if (dtype === "F16") return widenF16(new Uint16Array(buffer));
    throw new DataError(
      this.source.name,
      `tensor "${name}"`,
      `floating-point elements are expected, but they are ${dtype}`,
    );
  }

  /**
   * A tensor of one of the integer types as its own kind of array, or a run of its elements; F16 and BF16 give their bits.
   * @throws DataError if it has another element type than `dtype`
   */
  async readAs<D extends keyof typeof arrays>(
    name: string,
    dtype: D,
    elements: Elements = {},
  ): Promise<InstanceType<(typeof arrays)[D]>> {
    const entry = this.entry(name);
    if (entry.dtype !== dtype) {
      throw new DataError(
        this.source.name,
        `tensor "${name}"`,
        `elements of ${dtype} are expected, but they are ${entry.dtype}`,
      );
    }
    const { buffer } = await this.read(name, elements);
    return new arrays[dtype](buffer) as InstanceType<(typeof arrays)[D]>;
  }
}

const arrays = {
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  U16: Uint16Array,
  I32: Int32Array,
  U32: Uint32Array,
  I64: BigInt64Array,
  U8: Uint8Array,
} as const;

/**
 * Reads and checks the header of a safetensors file. Nothing is allocated that the file does not hold: each tensor's
 * bytes must lie in the file, and together they must cover it without a gap, an overlap or a rest.
 * @throws DataError naming the file and the place
 */
export async function openSafetensors(source: ByteSource): Promise<Safetensors> {
  const header = await readHeader(source);
  const dataStart = 8 + header.length;
  const parsed = parseJson(header, { file: source.name, within: "header" }, { maxBytes: maxHeaderBytes, maxDepth: 4 });
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new DataError(source.name, "header", "the header must be a JSON object", headerFix);
  }
  const { [metadataKey]: metadata = {}, ...rest } = parsed as Record<string, unknown>;
  const place = { file: source.name, within: `header, ${metadataKey}` };
  const entries = Object.entries(rest).map(([name, value]) => checkEntry(source, name, value, dataStart));
  entries.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  checkCoverage(source, entries, dataStart);
  return new Safetensors(
    source,
    checkSchema(metadata, metadataSchema, place),
    new Map(entries.map((e) => [e.name, e])),
  );
}

/**
 * As `openSafetensors`, of a whole file in memory; for small ones and for browsers.
 * @param name what errors call the file
 * @throws DataError naming the file and the place
 */
export function decodeSafetensors(bytes: Uint8Array, name: string): Promise<Safetensors> {
  return openSafetensors(memorySource(bytes, name));
}

async function readHeader(source: ByteSource): Promise<Uint8Array> {
  if (source.size < 8) {
    const detail = `a safetensors file starts with 8 bytes of header length, but this one has ${source.size} bytes`;
    throw new DataError(source.name, "byte 0", detail, headerFix);
  }
  const start = await source.read(0, 8);
  const length = new DataView(start.buffer).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes)) {
    throw new DataError(
      source.name,
      "byte 0",
      `a header has at most ${maxHeaderBytes} bytes, but this one says ${length}`,
      headerFix,
    );
  }
  if (Number(length) > source.size - 8) {
    const detail = `the header says it has ${length} bytes, but only ${source.size - 8} follow`;
    throw new DataError(source.name, "byte 0", detail, "The file is cut short or no safetensors file.");
  }
  const header = await source.read(8, Number(length));
  if (header[0] !== 0x7b) throw new DataError(source.name, "byte 8", "the header must start with {", headerFix);
  return header;
}

function checkEntry(source: ByteSource, name: string, value: unknown, dataStart: number): TensorEntry {
  const within = `header, tensor "${name.slice(0, 200)}"`;
  const { dtype, shape, data_offsets } = checkSchema(value, entrySchema, { file: source.name, within });
  const [begin, end] = data_offsets;
  const available = source.size - dataStart;
  if (begin > end || end > available) {
    const detail = `its bytes ${begin} .. ${end} do not lie within the ${available} bytes of data`;
    throw new DataError(source.name, within, detail, "The file is cut short or damaged.");
  }
  const size = shape.reduce((n, d) => n * d, 1);
  const bytes = size * elementBytes[dtype];
  if (bytes !== end - begin) {
    const detail = `shape [${shape.join(", ")}] of ${dtype} needs ${bytes} bytes, but the offsets give ${end - begin}`;
    throw new DataError(source.name, within, detail, headerFix);
  }
  return { name, dtype, shape, size, offset: dataStart + begin, bytes };
}

function checkCoverage(source: ByteSource, entries: readonly TensorEntry[], dataStart: number): void {
  let covered = dataStart;
  for (const { name, offset, bytes } of entries) {
    if (offset !== covered) {
      const detail = offset < covered ? "its bytes overlap those of another tensor" : "a gap lies before its bytes";
      throw new DataError(source.name, `tensor "${name.slice(0, 200)}", byte ${offset}`, detail, headerFix);
    }
    covered += bytes;
  }
  if (covered !== source.size) {
    const detail = `the tensors end here, but ${source.size - covered} more bytes follow`;
    throw new DataError(source.name, `byte ${covered}`, detail, headerFix);
  }
}

/**
 * The bytes of a safetensors file piece by piece: the header, then one tensor at a time, so that memory is one tensor.
 * Larger element types come first, so that every tensor is aligned; within a type the order given is kept.
 * @throws ShapeError if a name is used twice or `data` does not fit its shape and type
 */
export async function* safetensorsChunks(
  tensors: Iterable<TensorToWrite>,
  metadata: Readonly<Record<string, string>> = {},
): AsyncGenerator<Uint8Array> {
  const ordered = [...tensors].sort((a, b) => elementBytes[b.dtype] - elementBytes[a.dtype]);
  yield encodeHeader(ordered, metadata);
  for (const tensor of ordered) {
    const data = typeof tensor.data === "function" ? await tensor.data() : tensor.data;
    if (data.byteLength !== bytesOf(tensor)) {
      const rule = `"${tensor.name}" [${tensor.shape.join(", ")}] of ${tensor.dtype} needs ${bytesOf(tensor)} bytes`;
      throw new ShapeError("safetensors write", rule, `${data.byteLength}`);
    }
    yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
}

/** A whole safetensors file in memory; for small ones and for browsers. */
export async function encodeSafetensors(
  tensors: Iterable<TensorToWrite>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const part of safetensorsChunks(tensors, metadata)) parts.push(part);
  const result = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    result.set(part, offset);
    offset += part.length;
  }
  return result;
}

function bytesOf({ dtype, shape }: TensorToWrite): number {
  return shape.reduce((n, d) => n * d, 1) * elementBytes[dtype];
}

function encodeHeader(tensors: readonly TensorToWrite[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const names = new Set([metadataKey]);
  const entries: [string, unknown][] = Object.keys(metadata).length > 0 ? [[metadataKey, metadata]] : [];
  let offset = 0;
  for (const tensor of tensors) {
    if (names.has(tensor.name)) {
      throw new ShapeError("safetensors write", "tensor names must be unique", `"${tensor.name}" again`);
    }
    names.add(tensor.name);
    const { dtype, shape } = tensor;
    entries.push([tensor.name, { dtype, shape, data_offsets: [offset, offset + bytesOf(tensor)] }]);
    offset += bytesOf(tensor);
  }
  // Not an object literal: JSON.stringify of an object would put names that look like integers first.
  const text = `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(",")}}`;
  const json = new TextEncoder().encode(text);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > maxHeaderBytes) {
    throw new ShapeError(
      "safetensors write",
      `a header has at most ${maxHeaderBytes} bytes`,
      `${length}`,
      "Use several files.",
    );
  }
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return header;
}

/** bfloat16 bits as float32: the upper half of the same number. */
export function widenBf16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const wide = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = bits[i]! << 16;
  return new Float32Array(wide.buffer);
}

/** IEEE half-precision bits as float32; exact, subnormal numbers, infinities and NaN included. */
export function widenF16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const result = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const [exponent, fraction] = [(bits[i]! >> 10) & 31, bits[i]! & 1023];
    const size =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction
            ? Number.NaN
            : Number.POSITIVE_INFINITY
          : (1 + fraction / 1024) * 2 ** (exponent - 15);
    result[i] = bits[i]! & 0x8000 ? -size : size;
  }
  return result;
}
