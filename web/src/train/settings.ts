/** What a pair of models is trained with. */
export interface TrainSettings {
  readonly size: SizeName;
  /** Bytes of a sequence; one sequence a step. */
  readonly T: number;
  readonly sparse: SparseName;
  readonly learningRate: number;
  readonly device: "webgpu" | "cpu";
}

export type SizeName = "tiny" | "small" | "medium";

export const sizes: Readonly<Record<SizeName, { label: string; layers: number; heads: number; width: number }>> = {
  tiny: { label: "Tiny: 1 layer of 64", layers: 1, heads: 2, width: 64 },
  small: { label: "Small: 2 layers of 128", layers: 2, heads: 2, width: 128 },
  medium: { label: "Medium: 4 layers of 256", layers: 4, heads: 4, width: 256 },
};

export type SparseName = "windowHash" | "hash" | "balanced" | "window" | "drop";

/** In words, and in the model's notation for so many heads. */
export const sparsePatterns: Readonly<Record<SparseName, { label: string; notation: (heads: number) => string }>> = {
  windowHash: {
    label: "half window, half hash",
    notation: (heads) => `window(128):${heads / 2} hash(16):${heads / 2}`,
  },
  hash: { label: "hash, 16 buckets", notation: () => "hash(16)" },
  balanced: { label: "hash, 16 balanced buckets", notation: () => "hash(16, balanced=true)" },
  window: { label: "window of 128", notation: () => "window(128)" },
  drop: { label: "drop 70 %", notation: () => "drop(0.7)" },
};

/** The two lanes of a race: they differ in what they see, and in nothing else. */
export const laneNames = ["dense", "sparse"] as const;
export type LaneName = (typeof laneNames)[number];

/** What a lane's heads see, in the model's notation. */
export function attentionOf(lane: LaneName, { size, sparse }: TrainSettings): string {
  return lane === "dense" ? "dense" : sparsePatterns[sparse].notation(sizes[size].heads);
}
