import ranks from "gpt-tokenizer/bpeRanks/r50k_base";
import { encode as encodePiece } from "gpt-tokenizer/encoding/r50k_base";
import { R50K_TOKEN_SPLIT_REGEX as piecePattern } from "gpt-tokenizer/encodingParams/constants";
import { DataError, ShapeError, UnsupportedError } from "../errors.ts";
import { inside, type Place } from "../files/json.ts";
import { checkUtf8, decodeUtf8 } from "../files/utf8.ts";

export type TokenizerName = "bytes" | "gpt2";
export const tokenizerNames: readonly TokenizerName[] = ["bytes", "gpt2"];

/** Turns one document into tokens piece by piece; memory does not grow with the document. */
export interface TokenStream {
  /**
   * The tokens that are certain after these further bytes.
   * @throws DataError if the bytes cannot be what the tokenizer takes
   */
  push(bytes: Uint8Array): ArrayLike<number>;
  /** The tokens of the rest; the stream is then ready for the next document. */
  end(): ArrayLike<number>;
}

export interface Tokenizer {
  readonly name: TokenizerName;
  /** Every token is below it. */
  readonly vocabularySize: number;
  /** The token put after every document. */
  readonly separator: number;
  encode(text: string): number[];
  /** The bytes that tokens stand for; the separator stands for none. @throws ShapeError for a token out of the vocabulary */
  decodeBytes(tokens: Iterable<number>): Uint8Array<ArrayBuffer>;
  /** The text that tokens stand for; bytes that are not UTF-8 become U+FFFD. */
  decode(tokens: Iterable<number>): string;
  /** @param place what errors call the document */
  stream(place: Place): TokenStream;
}

/**
 * A tokenizer by name: `bytes` (every byte is a token; any bytes, no UTF-8 needed; byte 0 separates documents) or `gpt2`
 * (GPT-2's byte-pair encoding, UTF-8 text; 50256 separates documents).
 * @throws UnsupportedError for another name
 */
export function getTokenizer(name: string): Tokenizer {
  if (name === "bytes") return bytesTokenizer;
  if (name === "gpt2") return gpt2Tokenizer;
  throw new UnsupportedError("tokenizer", `the tokenizer must be one of ${tokenizerNames.join(", ")}`, `"${name}"`);
}

const bytesTokenizer: Tokenizer = {
  name: "bytes",
  vocabularySize: 256,
  separator: 0,
  encode: (text) => [...new TextEncoder().encode(text)],
  decodeBytes: (tokens) => Uint8Array.from(checked(tokens, 256)),
  decode: (tokens) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytesTokenizer.decodeBytes(tokens)),
  stream: () => ({ push: (bytes) => bytes, end: () => [] }),
};

const endOfText = 50256;

const gpt2Tokenizer: Tokenizer = {
  name: "gpt2",
  vocabularySize: 50257,
  separator: endOfText,
  encode: (text) => new PieceEncoder().push(text.toWellFormed(), { isLast: true }),
  decodeBytes: decodeGpt2,
  decode: (tokens) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(decodeGpt2(tokens)),
  stream: (place) => new Gpt2Stream(place),
};

/**
 * Text to GPT-2 tokens as it comes. The pattern that cuts text into pieces looks at most three characters ahead, so a piece
 * is certain once it ends that far before the end of what is known.
 */
class PieceEncoder {
  #rest = "";

  push(text: string, { isLast }: { isLast: boolean }): number[] {
    const known = this.#rest + text;
    const certain = isLast ? known.length : known.length - lookahead;
    const tokens: number[] = [];
    let done = 0;
    for (const { 0: piece, index } of known.matchAll(piecePattern)) {
      if (index + piece.length > certain) break;
      encodeCut(piece, tokens);
      done = index + piece.length;
    }
    this.#rest = known.slice(done);
    // A piece longer than any word is cut where `encodeCut` would cut it once its end were known.
    while (this.#rest.length > 2 * maxPieceChars + lookahead) {
      const end = cutAt(this.#rest, 0);
      encodeWhole(this.#rest.slice(0, end), tokens);
      this.#rest = this.#rest.slice(end);
    }
    return tokens;
  }
}

const lookahead = 3;
/**
 * Merging a piece takes time in the square of its length, so a run of more letters (or digits, signs, spaces) than this
 * without a break is cut into pieces of this length. No word of a language comes near.
 */
const maxPieceChars = 2048;

function cutAt(piece: string, start: number): number {
  const end = start + maxPieceChars;
  const isInsidePair = end < piece.length && piece.charCodeAt(end) >> 10 === 0x37;
  return isInsidePair ? end - 1 : end;
}

function encodeCut(piece: string, tokens: number[]): void {
  let start = 0;
  while (piece.length - start > maxPieceChars) {
    const end = cutAt(piece, start);
    encodeWhole(piece.slice(start, end), tokens);
    start = end;
  }
  encodeWhole(start === 0 ? piece : piece.slice(start), tokens);
}

const cache = new Map<string, readonly number[]>();
const maxCachedPieces = 100_000;
// Text that spells <|endoftext|> is text like any other; only the separator itself is the special token.
const plainText = { disallowedSpecial: new Set<string>() };

function encodeWhole(piece: string, tokens: number[]): void {
  let found = cache.get(piece);
  if (!found) {
    found = encodePiece(piece, plainText);
    if (cache.size >= maxCachedPieces) cache.clear();
    if (piece.length < 64) cache.set(piece, found);
  }
  for (const token of found) tokens.push(token);
}

class Gpt2Stream implements TokenStream {
  readonly #place: Place;
  #encoder = new PieceEncoder();
  #carry = new Uint8Array();
  #offset = 0;

  constructor(place: Place) {
    this.#place = place;
  }

  push(bytes: Uint8Array): number[] {
    const known = this.#carry.length > 0 ? joined(this.#carry, bytes) : bytes;
    const { invalidAt, wholeUntil } = checkUtf8(known);
    if (invalidAt >= 0) throw this.#notUtf8(invalidAt);
    const tokens = this.#encoder.push(decodeUtf8(known.subarray(0, wholeUntil)), { isLast: false });
    this.#carry = known.slice(wholeUntil);
    this.#offset += wholeUntil;
    return tokens;
  }

  end(): number[] {
    if (this.#carry.length > 0) throw this.#notUtf8(0);
    const tokens = this.#encoder.push("", { isLast: true });
    this.#encoder = new PieceEncoder();
    this.#offset = 0;
    return tokens;
  }

  #notUtf8(at: number): DataError {
    const fix = 'Convert it to UTF-8, or use the tokenizer "bytes".';
    const place = inside(this.#place, `byte ${this.#offset + at}`);
    return new DataError(this.#place.file, place, "the text is not UTF-8, which gpt2 needs", fix);
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const result = new Uint8Array(a.length + b.length);
  result.set(a);
  result.set(b, a.length);
  return result;
}

let gpt2Bytes: readonly Uint8Array[] | undefined;

function decodeGpt2(tokens: Iterable<number>): Uint8Array<ArrayBuffer> {
  // The library's own decoder keeps unfinished characters from one call to the next, so the table is read here.
  gpt2Bytes ??= ranks.map((entry) =>
    typeof entry === "string" ? new TextEncoder().encode(entry) : Uint8Array.from(entry),
  );
  const parts: Uint8Array[] = [];
  let length = 0;
  for (const token of checked(tokens, gpt2Tokenizer.vocabularySize)) {
    const part = gpt2Bytes[token];
    if (!part) continue;
    parts.push(part);
    length += part.length;
  }
  const result = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

function* checked(tokens: Iterable<number>, vocabularySize: number): Generator<number> {
  for (const token of tokens) {
    if (!(Number.isInteger(token) && token >= 0 && token < vocabularySize)) {
      throw new ShapeError("decode", `tokens must be 0 .. ${vocabularySize - 1}`, `${token}`);
    }
    yield token;
  }
}
