import { readVarint, unpack } from "./parquet_runs.ts";

/** Strings whose lengths stand first, as differences (DELTA_LENGTH_BYTE_ARRAY). */
export function* deltaLengthStrings(page: Uint8Array, start: number, count: number): Generator<Uint8Array> {
  if (count === 0) return;
  const lengths = readDeltas(page, start, count);
  let at = lengths.end;
  for (const length of lengths.values) {
    yield slice(page, at, length);
    at += length;
  }
}

/** Strings as the length of what they share with the one before, and the rest (DELTA_BYTE_ARRAY). */
export function* deltaStrings(page: Uint8Array, start: number, count: number): Generator<Uint8Array> {
  if (count === 0) return;
  const shared = readDeltas(page, start, count);
  const lengths = readDeltas(page, shared.end, count);
  let at = lengths.end;
  let last = new Uint8Array();
  for (let i = 0; i < count; i++) {
    const [prefix, length] = [shared.values[i]!, lengths.values[i]!];
    if (prefix < 0 || prefix > last.length)
      throw new Error(`a string shares ${prefix} bytes with one of ${last.length}`);
    const rest = slice(page, at, length);
    at += length;
    const value = new Uint8Array(prefix + length);
    value.set(last.subarray(0, prefix));
    value.set(rest, prefix);
    last = value;
    yield value;
  }
}

function slice(page: Uint8Array, at: number, length: number): Uint8Array {
  if (length < 0 || at + length > page.length) throw new Error(`a string of ${length} bytes is longer than the page`);
  return page.subarray(at, at + length);
}

/** 32-bit integers as packed differences (DELTA_BINARY_PACKED); their arithmetic wraps, as the format says. */
function readDeltas(page: Uint8Array, start: number, count: number): { values: Int32Array; end: number } {
  let at = start;
  const varint = () => {
    const { value, end } = readVarint(page, at);
    at = end;
    return value;
  };
  const zigzag = () => {
    const value = varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  };
  const [blockSize, parts, total] = [varint(), varint(), varint()];
  const partSize = blockSize / parts;
  if (!(blockSize > 0 && blockSize <= 1 << 16 && Number.isInteger(partSize) && partSize % 8 === 0)) {
    throw new Error(`blocks of ${blockSize} differences in ${parts} parts cannot be`);
  }
  if (total !== count) throw new Error(`${count} differences are expected, but ${total} are promised`);
  const values = new Int32Array(count);
  values[0] = zigzag();
  const deltas = new Uint32Array(partSize);
  for (let done = 1; done < count; ) {
    const smallest = zigzag();
    const widths = page.subarray(at, at + parts);
    at += parts;
    for (let part = 0; part < parts && done < count; part++) {
      const bits = widths[part];
      if (bits === undefined || bits > 32) throw new Error(`differences of ${bits ?? "no"} bits cannot be`);
      if (at + (partSize * bits) / 8 > page.length) throw new Error("the differences are longer than the page");
      unpack(page, { at, bits, output: deltas, start: 0, count: partSize });
      at += (partSize * bits) / 8;
      for (let i = 0; i < partSize && done < count; i++, done++) {
        values[done] = (values[done - 1]! + smallest + deltas[i]!) | 0;
      }
    }
  }
  return { values, end: at };
}
