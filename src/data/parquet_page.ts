import { deltaLengthStrings, deltaStrings } from "./parquet_delta.ts";
import { readRuns } from "./parquet_runs.ts";

/**
 * Decoding of one page of a Parquet column of strings, from bytes that may be anything: every length is checked against the
 * page, and work is in proportion to the page and its number of values. Source: the Parquet format's description of
 * encodings (https://github.com/apache/parquet-format/blob/master/Encodings.md).
 */
export interface PageLayout {
  /** Nulls included. */
  values: number;
  /** The format's number of the encoding. */
  encoding: number;
  isOptional: boolean;
  /** Version 2: the definition levels' bytes and number of nulls; version 1 stores their length in the page. */
  levels: { bytes: number; nulls: number } | undefined;
}

/** The distinct strings of a column chunk: string i is bytes starts[i] .. ends[i] of the page. */
export interface Dictionary {
  page: Uint8Array;
  starts: Uint32Array;
  ends: Uint32Array;
}

const encodings = { plain: 0, plainDictionary: 2, deltaLength: 6, delta: 7, rleDictionary: 8 };
/** The strings of a dictionary page. */
export function decodeDictionary(page: Uint8Array, values: number): Dictionary {
  checkCount(page, 0, values);
  const strings = plainStrings(page, 0, values);
  const dictionary = { page, starts: new Uint32Array(values), ends: new Uint32Array(values) };
  let i = 0;
  for (const string of strings) {
    dictionary.starts[i] = string.byteOffset - page.byteOffset;
    dictionary.ends[i++] = string.byteOffset - page.byteOffset + string.length;
  }
  return dictionary;
}

/** The values of a data page in order; undefined for a null. */
export function* decodeValues(
  page: Uint8Array,
  layout: PageLayout,
  dictionary: Dictionary | undefined,
): Generator<Uint8Array | undefined> {
  const { isPresent, present, valuesStart } = readLevels(page, layout);
  const strings = readStrings(page, { start: valuesStart, count: present, encoding: layout.encoding, dictionary });
  for (let i = 0; i < layout.values; i++) {
    yield isPresent && !isPresent[i] ? undefined : strings.next().value!;
  }
}

function readStrings(
  page: Uint8Array,
  options: { start: number; count: number; encoding: number; dictionary: Dictionary | undefined },
): Iterator<Uint8Array> {
  const { start, count, encoding, dictionary } = options;
  if (encoding === encodings.plain) return plainStrings(page, start, count);
  if (encoding === encodings.deltaLength) return deltaLengthStrings(page, start, count);
  if (encoding === encodings.delta) return deltaStrings(page, start, count);
  if (encoding === encodings.plainDictionary || encoding === encodings.rleDictionary) {
    if (count > 0 && !dictionary) throw new Error("the page needs a dictionary, but none came before it");
    return dictionaryStrings(page, { start, count, dictionary });
  }
  throw new Error(`the encoding number ${encoding} is not supported for strings; write the file anew`);
}

function* plainStrings(page: Uint8Array, start: number, count: number): Generator<Uint8Array> {
  checkCount(page, start, count);
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  let at = start;
  for (let i = 0; i < count; i++) {
    if (at + 4 > page.length) throw new Error(`the page ends before string ${i} of ${count}`);
    const length = view.getUint32(at, true);
    at += 4;
    if (at + length > page.length) throw new Error(`string ${i} of ${count} has ${length} bytes, past the page's end`);
    yield page.subarray(at, at + length);
    at += length;
  }
}

/** Each string takes at least its length's four bytes. */
function checkCount(page: Uint8Array, start: number, count: number): void {
  if (count * 4 > page.length - start) throw new Error(`${count} strings do not fit in a page of ${page.length} bytes`);
}

function* dictionaryStrings(
  page: Uint8Array,
  { start, count, dictionary }: { start: number; count: number; dictionary: Dictionary | undefined },
): Generator<Uint8Array> {
  if (count === 0 || !dictionary) return;
  const bits = page[start];
  if (bits === undefined || bits > 32) throw new Error(`indices of ${bits ?? "no"} bits cannot be`);
  const indices = readRuns(page.subarray(start + 1), { bits, count });
  for (const index of indices) {
    if (index >= dictionary.ends.length) {
      throw new Error(`index ${index} is outside the dictionary of ${dictionary.ends.length} strings`);
    }
    yield dictionary.page.subarray(dictionary.starts[index], dictionary.ends[index]);
  }
}

function readLevels(
  page: Uint8Array,
  { values, isOptional, levels }: PageLayout,
): { isPresent: Uint32Array | undefined; present: number; valuesStart: number } {
  if (!isOptional) return { isPresent: undefined, present: values, valuesStart: levels?.bytes ?? 0 };
  const [start, length] = levels ? [0, levels.bytes] : [4, lengthAtStart(page)];
  if (start + length > page.length) throw new Error(`levels of ${length} bytes are longer than the page`);
  const isPresent = readRuns(page.subarray(start, start + length), { bits: 1, count: values });
  const present = isPresent.reduce((n, level) => n + level, 0);
  if (levels && levels.nulls !== values - present) {
    throw new Error(`the page promises ${levels.nulls} nulls, but has ${values - present}`);
  }
  return { isPresent, present, valuesStart: start + length };
}

function lengthAtStart(page: Uint8Array): number {
  if (page.length < 4) throw new Error("the page ends before its levels");
  return new DataView(page.buffer, page.byteOffset, page.byteLength).getUint32(0, true);
}
