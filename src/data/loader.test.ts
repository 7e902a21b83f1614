import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { mutations, noise, valueOrDataError } from "../../test/fuzz.ts";
import { DataError, ShapeError } from "../errors.ts";
import { memorySource } from "../files/source.ts";
import { openDataset, openTokens, readMeta } from "./loader.ts";
import { prepare } from "./prepare.ts";
import { Tokens } from "./tokens.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "scfa-loader-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Tokens 0, 1, 2, ... of a vocabulary of 50257. */
function counting(count: number, name = "train.bin"): Tokens {
  const bytes = new Uint8Array(Uint16Array.from({ length: count }, (_, i) => i).buffer);
  return new Tokens(memorySource(bytes, name), { tokenizer: "gpt2", vocabularySize: 50257 });
}

async function makeDataset(): Promise<string> {
  const out = join(folder, "data");
  writeFileSync(join(folder, "a.txt"), "call me ishmael\n".repeat(100));
  await prepare({ files: [join(folder, "a.txt")], out, tokenizer: "bytes" });
  return out;
}

describe("sample", () => {
  test("gives runs of the file and, as targets, what follows each token", async () => {
    const tokens = counting(1000);
    const property = async (B: number, T: number, seed: number, step: number) => {
      const batch = await tokens.sample({ B, T, seed, step });
      expect(batch.tokens.length).toBe(B * T);
      for (let b = 0; b < B; b++) {
        expect(batch.starts[b]! + T).toBeLessThan(1000);
        for (let t = 0; t < T; t++) {
          expect(batch.tokens[b * T + t]).toBe(batch.starts[b]! + t);
          expect(batch.targets[b * T + t]).toBe(batch.starts[b]! + t + 1);
        }
      }
    };
    const word = fc.nat(2 ** 32 - 1);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 60 }), word, word, property),
    );
  });

  test("is a function of seed, step and row alone: any order, any division into parts", async () => {
    const tokens = counting(5000);
    const whole = await tokens.sample({ B: 6, T: 10, seed: 7, step: 41 });
    await tokens.sample({ B: 3, T: 99, seed: 1, step: 2 });
    const parts = [0, 2, 4].map((firstRow) => counting(5000).sample({ B: 2, T: 10, seed: 7, step: 41, firstRow }));
    expect((await Promise.all(parts)).flatMap(({ starts }) => starts)).toEqual(whole.starts);
    expect((await tokens.sample({ B: 6, T: 10, seed: 7, step: 42 })).starts).not.toEqual(whole.starts);
    expect((await tokens.sample({ B: 6, T: 10, seed: 8, step: 41 })).starts).not.toEqual(whole.starts);
    // Pinned: a change here would change every resumed run.
    expect(whole.starts).toMatchInlineSnapshot(`
      [
        4980,
        4194,
        572,
        3294,
        762,
        3064,
      ]
    `);
  });

  test("reaches every place evenly, the first and the last included", async () => {
    const counts = new Array<number>(10).fill(0);
    const tokens = counting(14);
    for (let step = 0; step < 500; step++) {
      for (const start of (await tokens.sample({ B: 4, T: 4, seed: 3, step })).starts) counts[start]!++;
    }
    // 2000 draws over 10 places: 200 each, standard deviation 13.4; five of those.
    for (const count of counts) expect(Math.abs(count - 200)).toBeLessThan(67);
  });

  test("says which option is wrong", async () => {
    const tokens = counting(100);
    await expect(tokens.sample({ B: 0, T: 4, seed: 0, step: 0 })).rejects.toThrow(
      "sample: B must be a whole number above 0, got 0",
    );
    await expect(tokens.sample({ B: 1, T: 4, seed: 0, step: -1 })).rejects.toThrow(ShapeError);
    await expect(tokens.sample({ B: 1, T: 4, seed: 0.5, step: 0 })).rejects.toThrow("the seed must be");
    await expect(tokens.sample({ B: 1, T: 100, seed: 0, step: 0 })).rejects.toThrow(
      "train.bin: length: the file holds 100 tokens, but sequences of T=100 need at least 101. Use a smaller T or a longer text.",
    );
    expect((await tokens.sample({ B: 2, T: 99, seed: 0, step: 0 })).starts).toEqual([0, 0]);
  });
});

describe("sequential", () => {
  test("covers every token that has a target once, but for a rest shorter than T", async () => {
    const property = async (count: number, B: number, T: number) => {
      const tokens = counting(count);
      const windows = tokens.windows(T);
      expect(windows).toBe(Math.floor((count - 1) / T));
      const seen: number[] = [];
      for (let index = 0; index < Math.ceil(windows / B); index++) {
        const batch = await tokens.sequential({ B, T, index });
        seen.push(...batch.tokens);
        expect([...batch.targets]).toEqual([...batch.tokens].map((token) => token + 1));
      }
      expect(seen).toEqual(Array.from({ length: windows * T }, (_, i) => i));
      if (windows > 0)
        await expect(tokens.sequential({ B, T, index: Math.ceil(windows / B) })).rejects.toThrow(ShapeError);
    };
    const sizes = [
      fc.integer({ min: 2, max: 200 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 40 }),
    ] as const;
    await fc.assert(fc.asyncProperty(...sizes, property));
  });
});

describe("openTokens", () => {
  test("reads only what a batch needs", async () => {
    const bytes = new Uint8Array(200_000);
    const source = memorySource(bytes, "train.bin");
    let read = 0;
    const watched = {
      ...source,
      read(offset: number, length: number) {
        read += length;
        return source.read(offset, length);
      },
    };
    const tokens = new Tokens(watched, { tokenizer: "bytes", vocabularySize: 256 });
    await tokens.sample({ B: 3, T: 8, seed: 0, step: 0 });
    expect(read).toBe(3 * 9 * 2);
  });

  test("opens a prepared folder, one file of it, and checks what it is asked to check", async () => {
    const out = await makeDataset();
    const dataset = await openDataset(out, { verify: true });
    expect(dataset.train.count).toBe(dataset.meta!.files["train.bin"].tokens);
    expect(dataset.validation.vocabularySize).toBe(256);
    await dataset.close();
    await using file = await openTokens(join(out, "val.bin"));
    expect(file.tokenizer).toBe("bytes");
    expect(file.count).toBe(dataset.validation.count);
    await expect(openTokens(out, { tokenizer: "gpt2" })).rejects.toThrow(
      'the tokens were made by "bytes", but "gpt2" is asked',
    );
  });

  test("opens nanoGPT's folders: gpt2 unless told otherwise; its table of characters is refused", async () => {
    writeFileSync(join(folder, "train.bin"), Uint16Array.of(50256, 1, 2));
    await using gpt2 = await openTokens(folder);
    expect([gpt2.tokenizer, gpt2.count]).toEqual(["gpt2", 3]);
    expect([...(await gpt2.read(0, 3))]).toEqual([50256, 1, 2]);
    await using bytes = await openTokens(folder, { tokenizer: "bytes" });
    await expect(bytes.read(0, 3)).rejects.toThrow(
      'token 0 (byte 0): tokens of "bytes" are below 256, but this is 50256',
    );
    writeFileSync(join(folder, "meta.pkl"), "");
    await expect(openTokens(folder)).rejects.toThrow("nanoGPT's own table");
    await expect(openTokens(folder, { split: "validation", tokenizer: "gpt2" })).rejects.toThrow(
      `${join(folder, "val.bin")}: open: no such file or folder (ENOENT).`,
    );
    await expect(openTokens(join(folder, "nothing"))).rejects.toThrow("no such file or folder");
  });

  test("takes another token file beside a prepared folder's for what it is", async () => {
    const out = await makeDataset();
    writeFileSync(join(out, "other.bin"), Uint16Array.of(50000));
    await using tokens = await openTokens(join(out, "other.bin"));
    expect(tokens.tokenizer).toBe("gpt2");
  });

  test("names a file of odd length, one that meta.json lies about, and one that changed", async () => {
    const out = await makeDataset();
    const train = join(out, "train.bin");
    const good = readFileSync(train);
    truncateSync(train, good.length - 1);
    await expect(openTokens(out)).rejects.toThrow("has an odd number of bytes");
    truncateSync(train, good.length - 2);
    await expect(openTokens(out)).rejects.toThrow(/meta.json speaks of \d+ tokens, but the file holds \d+/);
    good[10]! ^= 1;
    writeFileSync(train, good);
    await expect(openTokens(out, { verify: true })).rejects.toThrow("do not match their checksum");
    await using unchecked = await openTokens(out);
    truncateSync(train, 10);
    await expect(unchecked.read(100, 5)).rejects.toThrow("became shorter");
  });

  test("meta.json and tokens, damaged in any way, give data or a DataError that names the file", async () => {
    const out = await makeDataset();
    const metaPath = join(out, "meta.json");
    const meta = readFileSync(metaPath);
    const metas = [
      ...mutations(meta, { seed: 1, count: 300, cuts: 60 }),
      ...noise({ seed: 2, count: 30, maxBytes: 300 }),
    ];
    for (const { label, bytes } of metas) {
      writeFileSync(metaPath, bytes);
      const error = await valueOrDataError(label, metaPath, () => readMeta(out));
      if (error instanceof DataError) continue;
      await openTokens(out).then(
        (tokens) => tokens.close(),
        (e: unknown) => expect(e, label).toBeInstanceOf(DataError),
      );
    }
    const bin = join(folder, "x", "train.bin");
    mkdirSync(join(folder, "x"));
    for (const { label, bytes } of noise({ seed: 3, count: 200, maxBytes: 60 })) {
      writeFileSync(bin, bytes);
      await valueOrDataError(label, bin, async () => {
        await using tokens = await openTokens(bin);
        const batch = await tokens.sample({ B: 2, T: 4, seed: 0, step: 0 });
        expect(Math.max(...batch.tokens)).toBeLessThan(50257);
      });
    }
  });
});
