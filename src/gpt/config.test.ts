import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ShapeError } from "../errors.ts";
import { describeModel, layerAttentions, modelPresets, parseModelConfig } from "./config.ts";
import { formatAttention, type HeadPattern, type LayerAttention, parseAttention } from "./notation.ts";
import { parameterCount, parameterLayout } from "./parameters.ts";

const small = { layers: 2, heads: 4, width: 64, vocabulary: 256, context: 128 };

const pattern: fc.Arbitrary<HeadPattern> = fc.oneof(
  fc.constant({ kind: "dense" as const }),
  fc.record({ kind: fc.constant("window" as const), size: fc.integer({ min: 1, max: 1e6 }) }),
  fc.record({
    kind: fc.constant("hash" as const),
    buckets: fc.integer({ min: 1, max: 128 }).map((n) => 2 * n),
    diagonal: fc.boolean(),
    balanced: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("drop" as const), share: fc.integer({ min: 1, max: 99 }).map((n) => n / 100) }),
  fc.record({
    kind: fc.constant("union" as const),
    size: fc.integer({ min: 1, max: 1e6 }),
    buckets: fc.integer({ min: 1, max: 128 }).map((n) => 2 * n),
    balanced: fc.boolean(),
  }),
);
const layer: fc.Arbitrary<LayerAttention> = fc.array(fc.record({ heads: fc.integer({ min: 1, max: 9 }), pattern }), {
  minLength: 1,
  maxLength: 4,
});

describe("parseAttention", () => {
  it("reads back what formatAttention writes", () => {
    fc.assert(
      fc.property(layer, (groups) => {
        const heads = groups.reduce((n, group) => n + group.heads, 0);
        expect(parseAttention(formatAttention(groups), heads)).toEqual(groups);
      }),
    );
  });

  it("does not mind spaces", () => {
    const spaced = "  union( window(8) ,hash( 4 ) ) :1   hash(4,diagonal = false):3 ";
    expect(formatAttention(parseAttention(spaced, 4))).toBe("union(window(8), hash(4)):1 hash(4, diagonal=false):3");
  });

  it("takes a hash's options in any order", () => {
    const text = "union(window(8), hash(4, balanced=true)):1 hash(4, balanced=true, diagonal=false):3";
    expect(formatAttention(parseAttention(text, 4))).toBe(
      "union(window(8), hash(4, balanced=true)):1 hash(4, diagonal=false, balanced=true):3",
    );
  });

  it("answers any text with groups of heads or a ShapeError", () => {
    const word = fc.constantFrom(
      "dense",
      "window",
      "hash",
      "union",
      "(",
      ")",
      ",",
      ":",
      " ",
      "4",
      "0.5",
      "diagonal=false",
      "balanced=true",
      "é",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(word).map((words) => words.join("")),
        ),
        (text) => {
          try {
            expect(parseAttention(text, 4).reduce((n, { heads }) => n + heads, 0)).toBe(4);
          } catch (error) {
            expect(error).toBeInstanceOf(ShapeError);
          }
        },
      ),
    );
  });

  it.each([
    [
      "windw(8)",
      'a pattern is dense, window(n), hash(n), drop(share) or union(window(n), hash(n)), got "windw(8)" at character 1',
    ],
    ["", 'got the end at character 1 of ""'],
    ["window(0)", 'a window\'s size is a whole number, at least 1, got "0)" at character 8'],
    ["hash(7)", 'the number of buckets is even, from 2 to 256, got "7)" at character 6'],
    ["hash(512)", "the number of buckets is even, from 2 to 256"],
    ["hash(8, diagonal=maybe)", "diagonal is true or false"],
    ["hash(8, balanced)", 'hash takes "diagonal=false" and "balanced=true"'],
    ["hash(8, even=true)", 'hash takes "diagonal=false" and "balanced=true"'],
    ["hash(8", '")" belongs here, got the end'],
    ["drop(1.5)", "the share to drop lies between 0 and 1"],
    ["union(hash(4), window(8))", "a union is of a window and then a hash"],
    ["union(window(8), hash(4, diagonal=false))", "has no diagonal"],
    ["window(8):2 hash(4)", "each of several groups ends in its number of heads"],
    ["window(8):2 hash(4):3", "the groups must add up to the layer's 4 heads, got 5"],
  ])("says what is wrong with %j", (text, message) => {
    expect(() => parseAttention(text, 4)).toThrow(message);
  });
});

describe("parseModelConfig", () => {
  it("fills in what was left out", () => {
    expect(parseModelConfig(small)).toMatchObject({
      kvHeads: 4,
      positions: "learned",
      attention: "dense",
      documentEnd: null,
    });
  });

  it("takes its own output", () => {
    for (const preset of Object.values(modelPresets)) {
      const config = parseModelConfig(preset);
      expect(parseModelConfig(JSON.parse(JSON.stringify(config)))).toEqual(config);
      expect(describeModel(config)).toContain(`${config.layers} layers`);
    }
  });

  it("repeats a list of layers", () => {
    const config = parseModelConfig({ ...small, layers: 4, attention: ["window(8)", "dense"] });
    expect(layerAttentions(config).map(formatAttention)).toEqual(["window(8)", "dense", "window(8)", "dense"]);
  });

  it.each<[object, string]>([
    [{ heads: 5 }, "model.width: it must be a multiple of heads (5), got 64."],
    [{ heads: 8 }, "model.width: it must be heads times a head dimension of 16 to 256 in steps of 8, got 64 / 8 = 8."],
    [{ heads: 3, width: 60 }, "got 60 / 3 = 20."],
    [{ heads: 1, width: 264 }, "got 264 / 1 = 264."],
    [{ kvHeads: 3 }, "model.kvHeads: it must be a divisor of heads (4), got 3."],
    [
      { kvHeads: 2, sharedQK: true },
      "model.kvHeads: it must be equal to heads (4) where keys are the queries, got 2. Turn sharedQK off.",
    ],
    [{ layers: 0 }, "model.layers: "],
    [{ context: 1.5 }, "model.context: "],
    [{ layer: 2 }, 'model: options must be known ones, got "layer". Leave it out.'],
    [{ positions: "sinus" }, "model.positions: "],
    [
      { positions: "rope-windows", kvHeads: 2, attention: "window(8):1 dense:3" },
      "model.attention: it must be such that no group of heads ends within one of the 2 key heads, where positions are rope-windows, got window(8):1 dense:3.",
    ],
    [
      { kvHeads: 2, attention: "window(8):1 hash(4, balanced=true):3" },
      "model.attention: it must be such that a group of balanced heads reads one of the 2 key heads, or whole ones, got window(8):1 hash(4, balanced=true):3.",
    ],
    [{ vocabulary: "many" }, 'model.vocabulary: expected number, got "many".'],
    [{ width: undefined }, "model.width: expected number, got nothing."],
    [
      { layers: 4, attention: ["dense", "dense", "dense"] },
      "model.attention: it must be a list of 4 layers or of a divisor of that, got 3 entries.",
    ],
    [{ attention: "window(8):2 hash(4):3" }, "attention: the groups must add up to the layer's 4 heads"],
    [{ documentEnd: 256 }, "model.documentEnd: it must be a token below the vocabulary of 256, got 256."],
  ])("says in a sentence what is wrong with %j", (change, message) => {
    const attempt = () => parseModelConfig({ ...small, ...change });
    expect(attempt).toThrow(ShapeError);
    expect(attempt).toThrow(message);
  });
});

describe("parameterLayout", () => {
  it("counts the parameters of GPT-2 and of the paper's model", () => {
    expect(parameterCount(parameterLayout(parseModelConfig(modelPresets.gpt2)))).toBe(124_439_808);
    // 50304 tokens, 8192 positions, and 12 blocks of 2 + 1 + 4 + 4 squares of the width, with 25 normalisation weights.
    const C = 768;
    expect(parameterCount(parameterLayout(parseModelConfig(modelPresets["paper-124m"])))).toBe(
      (50304 + 8192) * C + 12 * 11 * C * C + 25 * C,
    );
  });

  it("places parameters one after another, at aligned places, with matrices and tables first", () => {
    const { specs, decayedSize, size } = parameterLayout(parseModelConfig({ ...small, biases: true }));
    let end = 0;
    for (const spec of specs) {
      expect(spec.offset % 128).toBe(0);
      expect(spec.offset).toBeGreaterThanOrEqual(end);
      expect(spec.shape.length === 2, spec.name).toBe(spec.offset < decayedSize);
      end = spec.offset + spec.size;
    }
    expect(size).toBeGreaterThanOrEqual(end);
  });
});
