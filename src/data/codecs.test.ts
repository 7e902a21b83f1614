import { brotliCompressSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { snappyUncompress } from "hyparquet";
import { describe, expect, test } from "vitest";
import { mutations, noise } from "../../test/fuzz.ts";
import { openCodecs, unlz4, unsnappy, zstdWorker } from "./codecs.ts";

const text = Buffer.from("the whale, the whale, the white whale ".repeat(20));

/** A Zstandard frame of one segment around blocks. */
function zstdFrame(contentBytes: number, blocks: Uint8Array[]): Uint8Array {
  const header = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, contentBytes & 255, (contentBytes >> 8) & 255, contentBytes >> 16, 0];
  return Buffer.concat([Uint8Array.from(header), ...blocks]);
}

function zstdBlock(type: number, size: number, body: Uint8Array, { isLast = true } = {}): Uint8Array {
  const header = (size << 3) | (type << 1) | (isLast ? 1 : 0);
  return Buffer.concat([Uint8Array.of(header & 255, (header >> 8) & 255, header >> 16), body]);
}

describe("openCodecs", () => {
  test("undoes each compression", async () => {
    const codecs = openCodecs();
    const compressed: [string, Uint8Array][] = [
      ["UNCOMPRESSED", text],
      ["GZIP", gzipSync(text)],
      ["BROTLI", brotliCompressSync(text)],
      ["ZSTD", zstdFrame(text.length, [zstdBlock(0, text.length, text)])],
    ];
    for (const [codec, bytes] of compressed) {
      expect(Buffer.from(await codecs.decompress(codec, bytes, text.length)).equals(text), codec).toBe(true);
      await expect(codecs.decompress(codec, bytes, text.length + 1), codec).rejects.toThrow();
      await expect(codecs.decompress(codec, bytes, text.length - 1), codec).rejects.toThrow();
    }
    await expect(codecs.decompress("LZO", text, 1)).rejects.toThrow("the compression LZO is not supported");
    await codecs.close();
  });
});

describe("snappy", () => {
  test("follows the format: literals of each length, copies that overlap", () => {
    // "abcd", then 8 bytes from 4 back (1-byte offset), then 3 from 2 back (2-byte), 2 from 1 back (4-byte).
    const bytes = Uint8Array.of(
      17,
      3 << 2,
      97,
      98,
      99,
      100,
      ((8 - 4) << 2) | 1,
      4,
      (2 << 2) | 2,
      2,
      0,
      (1 << 2) | 3,
      1,
      0,
      0,
      0,
    );
    expect(Buffer.from(unsnappy(bytes, 17)).toString()).toBe("abcdabcdabcdcdccc");
    const long = new Uint8Array(300).fill(7);
    const withLength = Uint8Array.from([0xac, 2, 61 << 2, 299 & 255, 299 >> 8, ...long]);
    expect(unsnappy(withLength, 300)).toEqual(long);
  });

  test("agrees with hyparquet's decoder wherever both take the bytes", () => {
    const element = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 20 }).map((b) => [(b.length - 1) << 2, ...b]),
      fc.tuple(fc.nat(7), fc.integer({ min: 1, max: 40 })).map(([n, d]) => [(n << 2) | 1, d]),
      fc.tuple(fc.nat(63), fc.integer({ min: 1, max: 300 })).map(([n, d]) => [(n << 2) | 2, d & 255, d >> 8]),
    );
    let agreed = 0;
    fc.assert(
      fc.property(fc.array(element, { maxLength: 12 }), fc.nat(300), (elements, length) => {
        const bytes = Uint8Array.from([0, ...elements.flat()]);
        const ours = attempt(() => unsnappy(bytes, length));
        if (ours?.length !== length) return;
        const theirs = new Uint8Array(length);
        if (attempt(() => snappyUncompress(bytes, theirs)) === undefined) {
          expect(ours).toEqual(theirs);
          agreed++;
        }
      }),
      { numRuns: 2000, seed: 5 },
    );
    expect(agreed).toBeGreaterThan(0);
  });
});

function attempt<V>(action: () => V): V | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}

test("LZ4 blocks: literals, extended lengths, overlapping copies", () => {
  const literals = Buffer.from("0123456789abcdefghij");
  // 15 + 5 literals; a copy of 4 + 15 + 2 bytes from 3 back; last literals "xyz".
  const bytes = Uint8Array.from([0xff, 5, ...literals, 3, 0, 2, 0x30, ...Buffer.from("xyz")]);
  expect(Buffer.from(unlz4(bytes, 44)).toString()).toBe(`${literals}${"hij".repeat(7)}xyz`);
});

test("damaged and random bytes of every compression end in an error or in at most the bytes promised", async () => {
  const codecs = openCodecs();
  const snappy = Uint8Array.from([20, 19 << 2, ...text.subarray(0, 20), (60 << 2) | 2, 20, 0, (59 << 2) | 2, 4, 0]);
  const lz4 = Uint8Array.from([0x4f, 1, 2, 3, 4, 2, 0, 255, 30, 0x10, 9]);
  const samples: [string, Uint8Array][] = [
    ["GZIP", gzipSync(text)],
    ["BROTLI", brotliCompressSync(text)],
    ["SNAPPY", snappy],
    ["LZ4_RAW", lz4],
    [
      "ZSTD",
      zstdFrame(400, [
        zstdBlock(0, 200, text.subarray(0, 200), { isLast: false }),
        zstdBlock(1, 200, Uint8Array.of(7)),
      ]),
    ],
  ];
  for (const [codec, bytes] of samples) {
    const all = [...mutations(bytes, { seed: 1, count: 300 }), ...noise({ seed: 2, count: 200, maxBytes: 100 })];
    for (const { label, bytes } of all) {
      const result = await codecs.decompress(codec, bytes, 400).catch((error: unknown) => error);
      if (result instanceof Uint8Array) expect(result.length, label).toBe(400);
      else expect(result, `${codec} ${label}`).toBeInstanceOf(Error);
    }
  }
  await codecs.close();
});

describe("Zstandard in a worker", () => {
  test("gives the bytes, and an error for damaged ones, and goes on after both", async () => {
    const zstd = zstdWorker(5000);
    const rle = zstdFrame(300, [zstdBlock(1, 300, Uint8Array.of(7))]);
    expect(await zstd.decompress(rle, 300)).toEqual(new Uint8Array(300).fill(7));
    await expect(zstd.decompress(rle, 299)).rejects.toThrow("more than it promises");
    await expect(zstd.decompress(Uint8Array.of(1, 2, 3), 3)).rejects.toThrow("damaged");
    expect(await zstd.decompress(rle, 300)).toHaveLength(300);
    await zstd.close();
  });

  test("a table that keeps the decoder in a loop for ever ends with an error in time", async () => {
    const zstd = zstdWorker(300);
    // Huffman weights by an entropy table of one symbol with all of the probability: its states take no bits.
    const tree = [6, 0xf0, 0x03, 0xff, 0xff, 0xff, 0xff];
    const literals = [(16 << 4) | 2, (20 << 6) & 255, 5, ...tree];
    const body = Uint8Array.from([...literals, ...new Uint8Array(40).fill(0xff)]);
    const endless = zstdFrame(1000, [zstdBlock(2, body.length, body)]);
    await expect(zstd.decompress(endless, 1000)).rejects.toThrow("the page takes more than 0.3 s");
    await zstd.close();
  });

  test("a window larger than memory is refused unread", async () => {
    const frame = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 31 << 3, 0, 0, 0);
    await expect(zstdWorker(1000).decompress(frame, 10)).rejects.toThrow("window is larger");
  });
});
