import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { mutations, noise, valueOrDataError } from "../../test/fuzz.ts";
import { DataError } from "../errors.ts";
import { expandInputs } from "./inputs.ts";
import { openDataset } from "./loader.ts";
import { type PrepareOptions, prepare } from "./prepare.ts";
import { getTokenizer } from "./tokenizers.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "scfa-prepare-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string) => join(folder, name);
function put(name: string, content: string | Uint8Array): string {
  mkdirSync(join(at(name), ".."), { recursive: true });
  writeFileSync(at(name), content);
  return at(name);
}

async function tokensOf(out: string): Promise<{ train: number[]; validation: number[] }> {
  const { train, validation, close } = await openDataset(out, { verify: true });
  const both = {
    train: [...(await train.read(0, train.count))],
    validation: [...(await validation.read(0, validation.count))],
  };
  await close();
  return both;
}

const run = (files: string[], options: Partial<PrepareOptions> = {}) =>
  prepare({ files, out: at("out"), tokenizer: "bytes", overwrite: true, ...options });

describe("a text file", () => {
  test("is one document whose tail, from a line's start, is for validation", async () => {
    const lines = Array.from({ length: 100 }, (_, i) => `line ${i}\n`).join("");
    const meta = await run([put("a.txt", lines)], { validationShare: 0.2 });
    const { train, validation } = await tokensOf(at("out"));
    expect([train.at(-1), validation.at(-1)]).toEqual([0, 0]);
    const { decode } = getTokenizer("bytes");
    const [head, tail] = [decode(train.slice(0, -1)), decode(validation.slice(0, -1))];
    expect(head + tail).toBe(lines);
    expect(head.endsWith("\n")).toBe(true);
    expect(Math.abs(tail.length / lines.length - 0.2)).toBeLessThan(0.02);
    expect(meta.sources).toEqual([
      {
        name: "a.txt",
        kind: "text",
        bytes: lines.length,
        sha256: createHash("sha256").update(lines).digest("hex"),
        documents: 1,
      },
    ]);
  });

  test("of any bytes, in one line, keeps each of them with the tokenizer bytes", async () => {
    const property = async (bytes: Uint8Array) => {
      await run([put("a.bin", bytes)]);
      const { train, validation } = await tokensOf(at("out"));
      expect([...train.slice(0, -1), ...validation.slice(0, -1)]).toEqual([...bytes]);
    };
    await fc.assert(fc.asyncProperty(fc.uint8Array({ minLength: 2, maxLength: 300 }), property), { numRuns: 30 });
  });

  test("longer than any piece gives the tokens of the whole text, with gpt2", async () => {
    const text = "Call me Ishmael — some years ago 🐋 don't you'll  \n".repeat(40_000);
    await run([put("a.txt", text)], { tokenizer: "gpt2", validationShare: 0 });
    const { train, validation } = await tokensOf(at("out"));
    expect(validation).toEqual([]);
    expect(train.pop()).toBe(50256);
    expect(train).toEqual(getTokenizer("gpt2").encode(text));
  });

  test("is cut between two characters where it has no lines", async () => {
    await run([put("a.txt", "🐋".repeat(100))], { tokenizer: "gpt2", validationShare: 0.13 });
    const { train, validation } = await tokensOf(at("out"));
    const { decode } = getTokenizer("gpt2");
    expect(decode([...train, ...validation])).toBe("🐋".repeat(100));
    expect(decode(train)).not.toContain("\ufffd");
  });
});

describe("many documents", () => {
  const records = Array.from({ length: 300 }, (_, i) => `document ${i}`);

  test("of JSON lines go whole to one side, by a choice that the seed decides", async () => {
    const file = put("a.jsonl", `${records.map((text) => JSON.stringify({ text, id: 1 })).join("\r\n")}\n\n`);
    const split = async (seed: number) => {
      const meta = await run([file], { seed });
      expect(meta.documents.train + meta.documents.validation).toBe(300);
      const { train, validation } = await tokensOf(at("out"));
      const texts = (tokens: number[]) => getTokenizer("bytes").decode(tokens).split("\0").slice(0, -1);
      expect([...texts(train), ...texts(validation)].sort()).toEqual([...records].sort());
      return texts(validation);
    };
    const chosen = await split(1);
    expect(chosen.length).toBeGreaterThan(15);
    expect(chosen.length).toBeLessThan(50);
    expect(chosen[0]).toBe("document 1");
    expect(await split(1)).toEqual(chosen);
    expect(await split(2)).not.toEqual(chosen);
  });

  test("come from Parquet, JSON lines and text alike; empty ones are counted and left out", async () => {
    const text = { name: "body", data: ["one", "", null, "two"], type: "STRING" as const };
    put("d/p.parquet", new Uint8Array(parquetWriteBuffer({ columnData: [text] })));
    put("d/sub/j.ndjson", '{"body":"three"}\n{"body":""}\n{"body":null}\n');
    put("d/t.txt", "four");
    put("d/.hidden", "no");
    const meta = await run([at("d")], { textField: "body", validationShare: 0.5, seed: 3 });
    expect(meta.documents.empty).toBe(4);
    expect(meta.sources.map(({ name, kind, documents }) => [name, kind, documents])).toEqual([
      ["p.parquet", "parquet", 2],
      ["sub/j.ndjson", "jsonl", 1],
      ["t.txt", "text", 1],
    ]);
    const { train, validation } = await tokensOf(at("out"));
    const words = getTokenizer("bytes")
      .decode([...train, ...validation])
      .split("\0")
      .slice(0, -1);
    expect(words.sort()).toEqual(["four", "one", "three", "two"]);
  });
});

describe("inputs", () => {
  test("are found by folders and patterns, each once, sorted", async () => {
    for (const name of ["b.txt", "a.txt", "x/c.txt", "x/y/d.md", "x/y/e[1].txt"]) put(name, name);
    const names = async (...files: string[]) =>
      (await expandInputs(files.map(at))).map(({ path }) => path.slice(folder.length + 1));
    expect(await names("*.txt")).toEqual(["a.txt", "b.txt"]);
    expect(await names("**/*.txt", "a.txt")).toEqual(["a.txt", "b.txt", "x/c.txt", "x/y/e[1].txt"]);
    expect(await names("x/?.txt")).toEqual(["x/c.txt"]);
    expect(await names("x/**")).toEqual(["x/c.txt", "x/y/d.md", "x/y/e[1].txt"]);
    expect(await names("x/y/e[1].txt")).toEqual(["x/y/e[1].txt"]);
    await expect(names("*.csv")).rejects.toThrow("there are no files in it");
  });
});

describe("what cannot be read or written is one sentence with file, place and fix", () => {
  test.each<[string, () => string[], Partial<PrepareOptions>, string]>([
    ["no such file", () => [at("no.txt")], {}, "no.txt: open: no such file or folder (ENOENT)."],
    ["no such place", () => [at("no/*.txt")], {}, "no: open: no such file or folder (ENOENT)."],
    ["an empty file", () => [put("a.txt", "")], {}, "a.txt: input: the file holds no text."],
    ["a text too short", () => [put("a.txt", "x")], {}, "a.txt: split: the text is too short"],
    ["one record only", () => [put("a.jsonl", '{"text":"x"}')], {}, "a.jsonl: split: there is one document only"],
    [
      "no JSON",
      () => [put("a.jsonl", '{"text":"x"}\n{"text":\n')],
      {},
      "a.jsonl: line 2, at the end: the JSON text ends too early.",
    ],
    [
      "no text field",
      () => [put("a.jsonl", '\n{"body":"x"}')],
      {},
      'a.jsonl: line 2, fields: the record has no text in the field "text" (fields: body).',
    ],
    ["a text field of numbers", () => [put("a.jsonl", '{"text":1}')], {}, 'no text in the field "text" (fields: text)'],
    ["no record", () => [put("a.jsonl", "[1]")], {}, "(fields: it is no object)"],
    [
      "a field that objects inherit",
      () => [put("a.jsonl", "{}")],
      { textField: "toString" },
      'in the field "toString" (fields: none)',
    ],
    [
      "no UTF-8",
      () => [put("a.txt", Buffer.from([0x61, 0x62, 0xff, 0x63]))],
      { tokenizer: "gpt2", validationShare: 0 },
      "a.txt: byte 2: the text is not UTF-8, which gpt2 needs. Convert it to UTF-8",
    ],
    [
      "a record that is no UTF-8",
      () => [put("a.jsonl", Buffer.from([0x22, 0xff, 0x22]))],
      {},
      "a.jsonl: line 1, byte 1: the text is not UTF-8.",
    ],
    ["a damaged Parquet", () => [put("a.parquet", "PAR1 no PAR1")], {}, "a.parquet: byte "],
    ["a device", () => ["/dev/null"], {}, "/dev/null: open: this is a pipe or a device"],
    [
      "a tail of records",
      () => [put("a.jsonl", "{}")],
      { splitBy: "tail" },
      "a.jsonl: split: only text files have a tail",
    ],
    [
      "an impossible share",
      () => [put("a.txt", "x")],
      { validationShare: 0.6 },
      "prepare: the validation share must be 0 .. 0.5, got 0.6",
    ],
  ])("%s", async (_, files, options, message) => {
    await expect(run(files(), options)).rejects.toThrow(message);
    expect(existsSync(at("out"))).toBe(false);
    expect(readdirSync(folder).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("an earlier dataset stays when it is not to be replaced, when the new one fails, and when it holds other files", async () => {
    await run([put("a.txt", "earlier text\n".repeat(10))]);
    const before = readFileSync(at("out/meta.json"), "utf8");
    await expect(run([at("a.txt")], { overwrite: false })).rejects.toThrow("it already exists and is not empty");
    await expect(run([put("b.jsonl", "{")])).rejects.toThrow(DataError);
    expect(readFileSync(at("out/meta.json"), "utf8")).toBe(before);
    put("out/notes.txt", "");
    await expect(run([at("a.txt")])).rejects.toThrow("the folder holds other files (notes.txt)");
    expect(existsSync(at("out/train.bin"))).toBe(true);
  });

  test("a run that is stopped leaves nothing", async () => {
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    const stopped = run([put("a.txt", "x\n".repeat(3 << 20))], { signal: controller.signal, onProgress });
    await expect(stopped).rejects.toThrow("aborted");
    expect(readdirSync(folder)).toEqual(["a.txt"]);
  });

  test("JSON lines damaged in any way give a dataset or a DataError that names the file", async () => {
    const good = Buffer.from(
      ['{"text":"one"}', '{"text":"zwei é🐋"}', '{"id":[1,{"a":null}],"text":"three"}', ""].join("\n"),
    );
    const all = [...mutations(good, { seed: 1, count: 120, cuts: 40 }), ...noise({ seed: 2, count: 30, maxBytes: 60 })];
    for (const { label, bytes } of all) {
      const file = put("a.jsonl", bytes);
      await valueOrDataError(label, file, () => run([file], { tokenizer: "gpt2" }));
    }
  });
});

test("progress ends with all bytes and all tokens", async () => {
  const files = [put("a.txt", "one\n".repeat(1000)), put("b.txt", "two\n".repeat(500))];
  const reports: { doneBytes: number; totalBytes: number; tokens: number; file: string }[] = [];
  const meta = await run(files, { onProgress: (progress) => reports.push(progress) });
  const tokens = meta.files["train.bin"].tokens + meta.files["val.bin"].tokens;
  expect(reports.at(-1)).toEqual({ doneBytes: 6000, totalBytes: 6000, tokens, file: files[1] });
});
