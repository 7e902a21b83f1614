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

/** `count` numbers of `bits` bits each, packed from the lowest bit on. */
export function unpack(
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

/** An unsigned number of at most 35 bits, seven a byte. */
export function readVarint(bytes: Uint8Array, start: number): { value: number; end: number } {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    const byte = bytes[start + i];
    if (byte === undefined) throw new Error("the page ends before its values");
    value += (byte & 127) * 2 ** (7 * i);
    if (byte < 128) return { value, end: start + i + 1 };
  }
  throw new Error("the length of a run is longer than 32 bits");
}
