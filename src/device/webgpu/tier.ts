/**
 * What the kernels use of a GPU, each tier all of those before: f32 arithmetic, which every GPU has; f16 tensors and
 * operations across a subgroup; products of matrices by a subgroup, on tensor cores where there are any.
 */
export const tiers = ["f32", "subgroups", "matrices"] as const;
export type Tier = (typeof tiers)[number];

/** Features of WebGPU, and of Dawn beyond it, that a tier needs. */
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
