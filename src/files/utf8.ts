/** What is known about the UTF-8 in a piece of bytes. */
export interface Utf8Check {
  /** Where the first byte that cannot be UTF-8 stands, or -1. */
  invalidAt: number;
  /** Bytes before this place are whole characters; after it stands at most the start of one. */
  wholeUntil: number;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Checks a piece of UTF-8 that may end in the middle of a character. */
export function checkUtf8(bytes: Uint8Array): Utf8Check {
  const wholeUntil = bytes.length - incompleteTail(bytes);
  try {
    // The platform's decoder is far faster than a loop; the loop only finds the place.
    strict.decode(bytes.subarray(0, wholeUntil));
    return { invalidAt: -1, wholeUntil };
  } catch {
    return { invalidAt: firstInvalid(bytes), wholeUntil };
  }
}

/** The text of bytes known to be UTF-8. A byte order mark stays, so that encoding again gives the same bytes. */
export function decodeUtf8(bytes: Uint8Array): string {
  return strict.decode(bytes);
}

/** How many bytes at the end are the start of a character that more bytes could complete: 0 to 3. */
function incompleteTail(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const at = bytes.length - back;
    if (bytes[at]! < 0x80) return 0;
    if (bytes[at]! >= 0xc0) {
      const needed = lengthOfLead(bytes[at]!);
      return needed > back && isPrefix(bytes, at, back) ? back : 0;
    }
  }
  return 0;
}

function isPrefix(bytes: Uint8Array, at: number, length: number): boolean {
  return length < 2 || isSecond(bytes[at]!, bytes[at + 1]!);
}

function lengthOfLead(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead < 0xe0) return 2;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  if (lead >= 0xf0 && lead < 0xf5) return 4;
  return 0;
}

/** The second byte of a character is narrower after some leads: no overlong forms, no surrogates, nothing past U+10FFFF. */
function isSecond(lead: number, second: number): boolean {
  if (lead === 0xe0) return second >= 0xa0 && second < 0xc0;
  if (lead === 0xed) return second >= 0x80 && second < 0xa0;
  if (lead === 0xf0) return second >= 0x90 && second < 0xc0;
  if (lead === 0xf4) return second >= 0x80 && second < 0x90;
  return second >= 0x80 && second < 0xc0;
}

function firstInvalid(bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    const length = lengthOfLead(bytes[at]!);
    if (length === 0) return at;
    for (let i = 1; i < length && at + i < bytes.length; i++) {
      const byte = bytes[at + i]!;
      if (i === 1 ? !isSecond(bytes[at]!, byte) : byte < 0x80 || byte >= 0xc0) return at;
    }
    at += length;
  }
  return -1;
}
