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

const encodings = { plain: 0, plainDictionary: 2, rleDictionary: 8 };
const encodingNames = ["PLAIN", "", "PLAIN_DICTIONARY", "RLE", "BIT_PACKED", "DELTA_BINARY_PACKED"];
const moreEncodingNames = ["DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"];

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
  if (encoding === encodings.plainDictionary || encoding === encodings.rleDictionary) {
    if (count > 0 && !dictionary) throw new Error("the page needs a dictionary, but none came before it");
    return dictionaryStrings(page, { start, count, dictionary });
  }
  const name = [...encodingNames, ...moreEncodingNames][encoding] ?? `number ${encoding}`;
  throw new Error(`the encoding ${name} is not supported; write the file with plain or dictionary encoding`);
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

/** `count` numbers of `bits` bits each, in the format's mixture of runs and packed groups of eight. */
export function readRuns(bytes: Uint8Array, { bits, count }: { bits: number; count: number }): Uint32Array {
  const output = new Uint32Array(count);
  if (bits === 0) return output;
  const width = Math.ceil(bits / 8);
  let [at, done] = [0, 0];
  while (done < count) {
    const { value: header, end } = readVarint(bytes, at);
    at = end;
    const isPacked = header % 2 === 1;
    const length = isPacked ? ((header - 1) / 2) * bits : width;
    // The last packed group may be cut to the bytes that its values need.
    const wanted = isPacked ? Math.min(length, Math.ceil(((count - done) * bits) / 8)) : length;
    if (at + wanted > bytes.length) throw new Error("a run is longer than the page");
    const run = Math.min(count - done, isPacked ? ((header - 1) / 2) * 8 : header / 2);
    if (isPacked) unpack(bytes, { at, bits, output, start: done, count: run });
    else output.fill(smallInteger(bytes, at, width), done, done + run);
    done += run;
    at += length;
  }
  return output;
}

function unpack(
  bytes: Uint8Array,
  { at, bits, output, start, count }: { at: number; bits: number; output: Uint32Array; start: number; count: number },
): void {
  let bit = 0;
  for (let i = 0; i < count; i++) {
    let value = 0;
    for (let got = 0; got < bits; ) {
      const take = Math.min(8 - (bit & 7), bits - got);
      const part = (bytes[at + (bit >> 3)]! >> (bit & 7)) & (2 ** take - 1);
      value += part * 2 ** got;
      got += take;
      bit += take;
    }
    output[start + i] = value;
  }
}

function smallInteger(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i++) value += bytes[at + i]! * 2 ** (8 * i);
  return value;
}

function readVarint(bytes: Uint8Array, start: number): { value: number; end: number } {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    const byte = bytes[start + i];
    if (byte === undefined) throw new Error("the page ends before its values");
    value += (byte & 127) * 2 ** (7 * i);
    if (byte < 128) return { value, end: start + i + 1 };
  }
  throw new Error("the length of a run is longer than 32 bits");
}
