import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { mutations, noise, valueOrDataError } from "../../test/fuzz.ts";
import { parseJson, readJson } from "./json.ts";
import { memorySource } from "./source.ts";
import { checkUtf8 } from "./utf8.ts";

const schema = z.strictObject({ name: z.string(), layers: z.array(z.object({ heads: z.int().min(1) })) });
const source = (text: string | Uint8Array) =>
  memorySource(typeof text === "string" ? new TextEncoder().encode(text) : text, "config.json");
const read = (text: string | Uint8Array) => readJson(source(text), schema);
const good = '{"name": "a", "layers": [{"heads": 1}, {"heads": 2}, {"heads": 3}]}';

describe("readJson", () => {
  test("gives the value", async () => {
    expect(await read(good)).toEqual({ name: "a", layers: [{ heads: 1 }, { heads: 2 }, { heads: 3 }] });
  });

  test.each([
    [good.replace("3", '"x"'), "config.json: at layers[2].heads: expected number, received string."],
    ['{"layers":[]}', "config.json: at name: expected string, received undefined."],
    ["[]", "config.json: at the top: expected object, received array."],
    ['{"name":"","layers":[],"lr":1}', 'config.json: at the top: Unrecognized key: "lr".'],
    ['{"name": "a",\n  "name": "b"}', 'config.json: line 2, column 3: the key "name" is given twice. Remove one.'],
    ['{"name": "a",\n  }', "config.json: line 2, column 3: this is not valid JSON."],
    ['{"name": ', "config.json: at the end: the JSON text ends too early."],
    ["", "config.json: at the end: the JSON text ends too early."],
    [`${"[".repeat(1e6)}`, "config.json: line 1, column 65: values are nested deeper than 64 levels."],
    [new Uint8Array([0x22, 0xff, 0x22]), "config.json: byte 1: the text is not UTF-8."],
    [new Uint8Array([0x22, 0xe2, 0x82]), "config.json: byte 1: the text is not UTF-8."],
  ])("says in a sentence what is wrong (case %#)", async (text, message) => {
    await expect(read(text)).rejects.toMatchObject({ message });
  });

  test("refuses files that are too long or hold too many values before building anything", async () => {
    const lying = { ...source(good), size: 2 ** 40 };
    await expect(readJson(lying, schema)).rejects.toThrow("at most 16777216 bytes");
    expect(() => parseJson(`[${"0,".repeat(100)}0]`, { file: "f" }, { maxValues: 50 })).toThrow("more than 50 values");
  });

  test("parses what JSON.parse parses, and finds keys given twice in any nesting and spelling", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(parseJson(text, { file: "f" })).toEqual(JSON.parse(text));
      }),
    );
    expect(() => parseJson('[{"b":{"a":1,"\\u0061":2}}]', { file: "f" })).toThrow('the key "a" is given twice');
    expect(parseJson('[{"a":"\\\\"},{"a":"a\\"a"},{"b":["a","a"]}]', { file: "f" })).toHaveLength(3);
  });

  test("gives the value or a DataError for damaged and random bytes", async () => {
    const bytes = new TextEncoder().encode(good);
    const all = [
      ...mutations(bytes, { seed: 1, count: 2000, cuts: 1000 }),
      ...noise({ seed: 2, count: 500, maxBytes: 40 }),
    ];
    for (const { label, bytes } of all) await valueOrDataError(label, "config.json", () => read(bytes));
  });
});

test("checkUtf8 agrees with the platform's decoder about validity and finds the first bad byte", () => {
  const strict = new TextDecoder("utf-8", { fatal: true });
  const isValid = (bytes: Uint8Array) => {
    try {
      strict.decode(bytes);
      return true;
    } catch {
      return false;
    }
  };
  const byte = fc.oneof(
    fc.constantFrom(0x41, 0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0xed, 0x9f, 0xf0, 0x90, 0xf4, 0x8f, 0xff),
    fc.nat(255),
  );
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 12 }), (array) => {
      const bytes = Uint8Array.from(array);
      const { invalidAt, wholeUntil } = checkUtf8(bytes);
      expect(invalidAt < 0 && wholeUntil === bytes.length).toBe(isValid(bytes));
      if (invalidAt < 0) expect(isValid(bytes.subarray(0, wholeUntil))).toBe(true);
      else {
        expect(isValid(bytes.subarray(0, invalidAt))).toBe(true);
        // No bytes after it could make the start of the bad character good.
        const tails = [[], [0x80], [0x80, 0x80], [0xa0, 0x80], [0x90, 0x80, 0x80]];
        const upTo = bytes.subarray(invalidAt);
        expect(tails.every((tail) => !isValid(Uint8Array.from([...upTo, ...tail])))).toBe(true);
      }
    }),
    { numRuns: 2000, seed: 3 },
  );
});
