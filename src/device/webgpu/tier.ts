/**
 * What the kernels use of a GPU, each tier all of those before: f32 arithmetic, which every GPU has; f16 tensors and
 * operations across a subgroup; products of matrices by a subgroup, on tensor cores where there are any.
 */
export const tiers = ["f32", "subgroups", "matrices"] as const;
export type Tier = (typeof tiers)[number];

/** Features of WebGPU, and of Dawn beyond it, that a device is opened with for a tier. */
export const tierFeatures: Readonly<Record<Tier, readonly string[]>> = {
  f32: [],
  subgroups: ["shader-f16", "subgroups"],
  matrices: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"],
};

/** WGSL that a kernel of the tier begins with. */
export const tierEnables: Readonly<Record<Tier, string>> = {
  f32: "",
  subgroups: "enable f16; enable subgroups;",
  matrices: "enable f16; enable subgroups; enable chromium_experimental_subgroup_matrix;",
};

/** Of what the kernels of "matrices" are written for: lanes in a subgroup, and the sides of a product of f16 that gives f32. */
const [lanes, side] = [32, 16];

/** What Dawn says of products of matrices, not yet in the types of WebGPU. */
interface MatrixInfo {
  readonly subgroupMatrixConfigs?: Iterable<{
    readonly componentType: string;
    readonly resultComponentType: string;
    readonly M: number;
    readonly N: number;
    readonly K: number;
  }>;
}

/** What a GPU has not that a tier needs, in words; nothing where it has the tier. */
export function lacks(
  tier: Tier,
  { features, info }: { features: GPUSupportedFeatures; info: GPUAdapterInfo },
): string[] {
  const missing = tierFeatures[tier].filter((name) => !features.has(name));
  if (tier !== "matrices" || missing.length > 0) return missing;
  const { subgroupMinSize: least, subgroupMaxSize: most } = info;
  // Dawn's adapters list them, a device that is shared in Node does not: there the feature has to do.
  const products = [...((info as MatrixInfo).subgroupMatrixConfigs ?? [])];
  const hasProduct =
    products.length === 0 ||
    products.some(
      ({ componentType, resultComponentType, M, N, K }) =>
        componentType === "f16" && resultComponentType === "f32" && [M, N, K].every((size) => size === side),
    );
  return [
    ...(hasProduct ? [] : [`products of ${side}x${side}x${side} f16 that give f32`]),
    ...(least === lanes && most === lanes ? [] : [`subgroups of ${lanes} lanes alone (here ${least} to ${most})`]),
  ];
}
