import fc from "fast-check";
import { encode as libraryEncode } from "gpt-tokenizer/encoding/r50k_base";
import { describe, expect, test } from "vitest";
import { DataError } from "../errors.ts";
import { getTokenizer } from "./tokenizers.ts";

const bytes = getTokenizer("bytes");
const gpt2 = getTokenizer("gpt2");

function streamed(tokenizer: typeof gpt2, data: Uint8Array, cuts: readonly number[]): number[] {
  const stream = tokenizer.stream({ file: "doc" });
  const tokens: number[] = [];
  const places = [0, ...cuts.map((c) => c % (data.length + 1)).sort((a, b) => a - b), data.length];
  for (let i = 1; i < places.length; i++) {
    tokens.push(...Array.from(stream.push(data.subarray(places[i - 1], places[i]))));
  }
  return [...tokens, ...Array.from(stream.end())];
}

/** Text with what makes cutting hard: runs of spaces, contractions, letters of many bytes, pairs of surrogates, digits. */
const text = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        " ",
        "  ",
        "\n\n ",
        "'s",
        "'re",
        "'",
        "r",
        "e",
        "ll",
        "'ll",
        "é",
        "日本語",
        "🙂",
        "12",
        "3",
        "\u00a0",
        "..",
        "<|endoftext|>",
        "\ufeff",
      ),
      fc.string({ unit: "grapheme", maxLength: 5 }),
    ),
    { maxLength: 30 },
  )
  .map((parts) => parts.join("").toWellFormed());

describe("gpt2", () => {
  test("gives the tokens that GPT-2 gives", () => {
    expect(gpt2.vocabularySize).toBe(50257);
    // From OpenAI's own tokenizer.
    expect(gpt2.encode("Hello world")).toEqual([15496, 995]);
    expect(gpt2.decode([15496, 995, 50256])).toBe("Hello world");
  });

  test("agrees with the library, and decodes to the same text", () => {
    fc.assert(
      fc.property(text, (text) => {
        const tokens = gpt2.encode(text);
        expect(tokens).toEqual(libraryEncode(text, { disallowedSpecial: new Set() }));
        expect(gpt2.decode(tokens)).toBe(text);
      }),
      { numRuns: 300 },
    );
  });

  test("gives the same tokens however the bytes come in pieces", () => {
    fc.assert(
      fc.property(text, fc.array(fc.nat(200), { maxLength: 12 }), (text, cuts) => {
        expect(streamed(gpt2, new TextEncoder().encode(text), cuts)).toEqual(gpt2.encode(text));
      }),
      { numRuns: 500 },
    );
  });

  test("takes text that spells the separator for text", () => {
    expect(gpt2.encode("<|endoftext|>")).not.toContain(50256);
  });

  test("takes runs without a break of any length, in pieces or whole, in time that grows with their length", () => {
    for (const unit of ["a", " ", "é", "🙂", "!", "7"]) {
      const run = `x ${unit.repeat(30_000 / unit.length)} y`;
      const tokens = gpt2.encode(run);
      expect(gpt2.decode(tokens)).toBe(run);
      expect(streamed(gpt2, new TextEncoder().encode(run), [1, 10_001, 10_002, 20_003])).toEqual(tokens);
    }
  });

  test("names the byte that is not UTF-8, also in a later piece and for a character cut off", () => {
    const stream = gpt2.stream({ file: "doc.txt", within: "row 3" });
    stream.push(Uint8Array.of(0x61, 0xe2, 0x82));
    expect(() => stream.push(Uint8Array.of(0x61))).toThrow("doc.txt: row 3, byte 1: the text is not UTF-8");
    const cut = gpt2.stream({ file: "doc.txt" });
    cut.push(Uint8Array.of(0x61, 0x62, 0xf0, 0x9f));
    expect(() => cut.end()).toThrow(DataError);
    expect(() => cut.end()).toThrow("doc.txt: byte 2: ");
  });

  test("decodes tokens one at a time to bytes that join to the text", () => {
    const tokens = gpt2.encode("日本語 🙂 é");
    const parts = tokens.map((token) => gpt2.decodeBytes([token]));
    expect(Buffer.concat(parts).toString()).toBe("日本語 🙂 é");
    // A character cut off in one call must not leak into the next.
    gpt2.decode(tokens.slice(0, 1));
    expect(gpt2.decode([15496])).toBe("Hello");
  });
});

describe("bytes", () => {
  test("are their own tokens, whatever they are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), fc.array(fc.nat(50)), (data, cuts) => {
        const tokens = streamed(bytes, data, cuts);
        expect(tokens).toEqual([...data]);
        expect(bytes.decodeBytes(tokens)).toEqual(data);
      }),
    );
    expect(bytes.decode(bytes.encode("\ufeffé"))).toBe("\ufeffé");
  });
});

test("tokens outside the vocabulary and unknown tokenizers are refused", () => {
  expect(() => bytes.decode([256])).toThrow("decode: tokens must be 0 .. 255, got 256");
  expect(() => gpt2.decode([50257])).toThrow("tokens must be 0 .. 50256");
  expect(() => gpt2.decode([-1])).toThrow();
  expect(() => getTokenizer("gpt3")).toThrow('the tokenizer must be one of bytes, gpt2, got "gpt3"');
});
