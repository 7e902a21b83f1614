import { range } from "../ui/controls.ts";
import { powers } from "../ui/powers.ts";

/** The patterns that Explore shows, as plain data: the page makes sliders of it, the worker patterns (`patterns.ts`). */

export type PatternName = "dense" | "window" | "documents" | "drop" | "hash" | "windowHash" | "stripes" | "hdt";

/** Everything that a picture depends on. */
export interface PatternChoice {
  readonly name: PatternName;
  /** By the keys of the pattern's `numbers`. */
  readonly numbers: Readonly<Record<string, number>>;
  /** Queries, and keys. */
  readonly T: number;
  /** Queries, and keys, of a tile. */
  readonly tile: number;
  /** Of what is drawn at random: buckets, dropped rows, where documents end. */
  readonly seed: number;
}

export interface PatternNumber {
  readonly key: string;
  readonly label: string;
  readonly value: number;
  readonly values: (T: number) => readonly number[];
  readonly format?: (value: number) => string;
}

export interface PatternInfo {
  readonly label: string;
  /** What a query sees, in a sentence. */
  readonly sees: string;
  readonly numbers: readonly PatternNumber[];
  /** Whether anything is drawn at random. */
  readonly isRandom: boolean;
  /** The names of a union's parts, in order. */
  readonly parts?: readonly string[];
  /** As a model's heads may be told to see; left out where a model knows no such pattern. */
  readonly notation?: (numbers: Readonly<Record<string, number>>) => string;
}

const percent = (value: number) => `${value} %`;
const keys = (value: number) => `${value} keys`;
const windowSize: PatternNumber = {
  key: "window",
  label: "Window",
  value: 32,
  values: (T) => powers(4, T),
  format: keys,
};
const buckets: PatternNumber = { key: "buckets", label: "Buckets", value: 8, values: () => powers(2, 64) };

export const catalogue: Readonly<Record<PatternName, PatternInfo>> = {
  dense: {
    label: "Dense",
    sees: "Every query sees every earlier key, and itself. All other patterns are measured against this one.",
    numbers: [],
    isRandom: false,
    notation: () => "dense",
  },
  window: {
    label: "Window",
    sees: "A query sees the last few keys only.",
    numbers: [windowSize],
    isRandom: false,
    notation: ({ window }) => `window(${window})`,
  },
  documents: {
    label: "Documents",
    sees: "Several documents are packed into one sequence; a query sees earlier keys of its own document.",
    numbers: [{ key: "documents", label: "Documents", value: 6, values: () => range(2, 24) }],
    isRandom: true,
  },
  drop: {
    label: "Drop",
    sees: "A random share of queries and of keys takes no part; the kept queries see the kept keys before them.",
    numbers: [{ key: "dropped", label: "Dropped", value: 60, values: () => range(10, 90, 5), format: percent }],
    isRandom: true,
    notation: ({ dropped }) => `drop(${dropped! / 100})`,
  },
  hash: {
    label: "Hash",
    sees: "Vectors are hashed so that alike ones share a bucket; a query sees earlier keys of its own bucket.",
    numbers: [
      buckets,
      {
        key: "skew",
        label: "Skew of the buckets",
        value: 0,
        values: () => range(0, 10),
        format: (value) => (value === 0 ? "none" : `${value} of 10`),
      },
    ],
    isRandom: true,
    notation: ({ buckets }) => `hash(${buckets})`,
  },
  windowHash: {
    label: "Window + hash",
    sees: "A query sees the last few keys, and beyond them those of its own bucket: near and alike, each pair once.",
    numbers: [{ ...windowSize, value: 16 }, buckets],
    isRandom: true,
    parts: ["window", "hash"],
    notation: ({ window, buckets }) => `union(window(${window}), hash(${buckets}))`,
  },
  stripes: {
    label: "Stripes",
    sees: "A query sees the last few keys, and beyond them a few chosen columns that every query looks back to.",
    numbers: [
      { ...windowSize, value: 16 },
      { key: "stripes", label: "Chosen columns", value: 8, values: () => range(1, 32), format: keys },
    ],
    isRandom: true,
    parts: ["window", "stripes"],
  },
  hdt: {
    label: "HDT",
    sees: "Sentences, sections and the document each have an anchor: tokens see their sentence, anchors see their equals. Nothing here is causal.",
    numbers: [
      {
        key: "sentence",
        label: "Sentence",
        value: 16,
        values: () => powers(4, 64),
        format: (value) => `${value} tokens`,
      },
      {
        key: "section",
        label: "Section",
        value: 4,
        values: () => range(2, 8),
        format: (value) => `${value} sentences`,
      },
    ],
    isRandom: false,
    parts: ["sentences", "sections", "document"],
  },
};

/** A choice of this pattern with its usual numbers. */
export function usualNumbers(name: PatternName): Record<string, number> {
  return Object.fromEntries(catalogue[name].numbers.map(({ key, value }) => [key, value]));
}
