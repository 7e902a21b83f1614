// Which builds of the CUDA kernels there are: the file and the constants that its launcher sets. Compiled by
// scripts/cuda-compile.mjs: `--check` takes those marked `check`, bench/cuda/build.sh takes all.
// To add a kernel, add a row to `others`; every .cu file must have at least one build that is checked.

/**
 * @typedef {object} Build
 * @property {string} name of the cubin, as bench/cuda/attention.py and builders.py look for it
 * @property {string} file in src/device/cuda, without .cu
 * @property {"mma" | "90a"} arch "mma": sm_80 and up (sm_80 in the check); "90a": sm_90a
 * @property {Record<string, number>} defines
 * @property {boolean} check whether it is one of those that continuous integration compiles
 * @property {boolean} [mayNotSpill] fails the check if a register goes to memory beyond `spills`
 * @property {Record<string, number>} [spills] bytes of spill stores that are known, by entry; src/device/cuda/LOG.md, "Spills"
 */

/** bf16 and f16, each by tables of rows and in the rows' own order. */
const kinds = [
  { suffix: "", defines: {} },
  { suffix: "_id", defines: { IDENTITY: 1 } },
  { suffix: "_f16", defines: { ELEMENT_F16: 1 } },
  { suffix: "_f16_id", defines: { ELEMENT_F16: 1, IDENTITY: 1 } },
];

/** Shapes of the sm_90a forward: head dimension, warpgroups that compute, keys of a tile, stages, registers of each role. */
const forwardShapes = [
  [64, 3, 128, 4, 32, 160],
  [64, 3, 96, 5, 80, 144],
  [64, 3, 64, 6, 80, 144],
  [64, 2, 128, 4, 72, 216],
  [128, 2, 128, 2, 72, 216],
  [128, 3, 64, 3, 32, 160],
];

/** Those of them that a launcher chooses: by tables, and in the rows' own order. */
const chosenForward = { "": ["c3n96s5_d64", "c2n128s2_d128"], _id: ["c3n128s4_d64", "c2n128s2_d128"] };

/** Kernels of one or two builds: file, constants, architecture. */
const others = [
  { file: "attention_delta" },
  { file: "attention_delta", suffix: "_f16", defines: { ELEMENT_F16: 1 } },
  { file: "attention_forward", suffix: "_anyscale", defines: { HEAD_DIM: 64, BLOCK_M: 64, BLOCK_N: 64, ANY_SCALE: 1 } },
  { file: "attention_backward", suffix: "_small", defines: { HEAD_DIM: 256, SLICE: 128, BLOCK_M: 32, BLOCK_N: 16 } },
  { file: "staircase" },
  { file: "add", defines: { ELEMENT: 2 } },
  { file: "add", suffix: "_f32", defines: { ELEMENT: 0 } },
  { file: "adamw", defines: { COMPUTED: 2 } },
  { file: "adamw", suffix: "_f32", defines: { COMPUTED: -1 } },
  { file: "cast", defines: { FROM: 0, TO: 2 } },
  { file: "column_sums", defines: { ELEMENT_F16: 0, WIDTH: 8 } },
  { file: "copy", defines: { UNIT_BYTES: 16 } },
  { file: "copy", suffix: "_2", defines: { UNIT_BYTES: 2 } },
  { file: "embed", defines: { ELEMENT_F16: 0, WIDTH: 8 } },
  { file: "embed_backward", defines: { ELEMENT_F16: 0, WIDTH: 4 } },
  { file: "grad_norm" },
  { file: "keep_mask" },
  { file: "layer_norm", defines: { ELEMENT_F16: 0, ROW_WARPS: 1, CHUNKS: 3 } },
  { file: "layer_norm_backward", defines: { ELEMENT_F16: 0, WITH_BIAS: 1, ROW_WARPS: 1, CHUNKS: 3 } },
  { file: "normalize_rows", defines: { ELEMENT_F16: 0, CHUNKS: 1 } },
  { file: "normalize_rows_backward", defines: { ELEMENT_F16: 0, CHUNKS: 1 } },
  { file: "rope", defines: { ELEMENT_F16: 0, WIDTH: 8 } },
  { file: "softmax_cross_entropy", defines: { ELEMENT_F16: 0 } },
  { file: "linear_any", defines: { ELEMENT_F16: 0, OUT_F32: 0 } },
  { file: "linear_any", suffix: "_f32", defines: { ELEMENT_F16: 1, OUT_F32: 1 } },
  { file: "product_epilogue", defines: { ELEMENT_F16: 0, SUM_F32: 0, WIDTH: 8 } },
  { file: "product_epilogue", suffix: "_sum_w1", defines: { ELEMENT_F16: 1, SUM_F32: 1, WIDTH: 1 } },
];

/** @returns {Build[]} */
export function cudaBuilds() {
  return [
    ...kinds.flatMap((kind) => [...mmaFamily(kind), ...forwardSm90(kind), ...backwardSm90(kind)]),
    ...others.map(({ file, suffix = "", defines = {}, arch = "mma" }) => ({
      ...{ name: `${file}${suffix}`, file, arch, defines, check: true },
    })),
    ...hashing(),
  ];
}

function mmaFamily({ suffix, defines }) {
  return [16, 32, 64, 128, 256].flatMap((D) =>
    ["attention_forward", "attention_backward"].map((file) => ({
      name: `${file}_d${D}${suffix}`,
      ...{ file, arch: "mma", mayNotSpill: true, spills: mmaSpills[`${D}${suffix}`] },
      defines: { HEAD_DIM: D, SLICE: Math.min(D, 128), BLOCK_M: 64, BLOCK_N: D > 64 ? 32 : 64, ...defines },
      check: (D === 64 && suffix !== "_f16_id") || (D === 128 && !suffix.includes("f16")),
    })),
  );
}

/** At sm_80. */
const mmaSpills = { 128: { attention_backward_q: 24 }, "128_id": { attention_backward_kv: 36 } };

function forwardSm90({ suffix, defines }) {
  return forwardShapes.map(([D, CONSUMERS, BLOCK_N, STAGES, REGISTERS_LOAD, REGISTERS_COMPUTE]) => {
    const shape = `c${CONSUMERS}n${BLOCK_N}s${STAGES}_d${D}`;
    return {
      name: `attention_forward_sm90_${shape}${suffix}`,
      ...{ file: "attention_forward_sm90", arch: "90a", mayNotSpill: true },
      ...(suffix.endsWith("_id") && BLOCK_N === 128 && D === 64 && { spills: { attention_forward_sm90: 4 } }),
      defines: { HEAD_DIM: D, CONSUMERS, BLOCK_N, STAGES, REGISTERS_LOAD, REGISTERS_COMPUTE, ...defines },
      check: chosenForward[suffix]?.includes(shape) ?? false,
    };
  });
}

/**
 * Shapes of the sm_90a backward: head dimension, stages, registers of each role, by tables and in the rows' own order,
 * and bytes of spill stores with and without dq. Gathering needs registers, bulk copies do not.
 */
const backwardShapes = [
  {
    D: 64,
    STAGES: 4,
    gathered: { registers: [88, 208], spills: [24, 0] },
    own: { registers: [40, 232], spills: [12, 8] },
  },
  {
    D: 128,
    STAGES: 3,
    gathered: { registers: [56, 224], spills: [36, 40] },
    own: { registers: [56, 224], spills: [0, 0] },
  },
];

function backwardSm90({ suffix, defines }) {
  return backwardShapes.flatMap(({ D, STAGES, gathered, own }) =>
    [1, 0].flatMap((WITH_DQ) => {
      const { registers, spills } = suffix.endsWith("_id") ? own : gathered;
      const [REGISTERS_LOAD, REGISTERS_COMPUTE] = registers;
      const tail = `${WITH_DQ ? "" : "nodq_"}d${D}${suffix}`;
      const common = { arch: "90a", check: suffix !== "_f16_id", mayNotSpill: true };
      return [
        {
          ...{ ...common, name: `attention_backward_scratch_${tail}`, file: "attention_backward_scratch" },
          defines: { HEAD_DIM: D, WITH_DQ, ...defines },
        },
        {
          ...{ ...common, name: `attention_backward_sm90_${tail}`, file: "attention_backward_sm90" },
          defines: { HEAD_DIM: D, STAGES, REGISTERS_LOAD, REGISTERS_COMPUTE, WITH_DQ, ...defines },
          spills: { attention_backward_sm90: spills[WITH_DQ ? 0 : 1] },
        },
      ];
    }),
  );
}

function hashing() {
  const kinds = [
    { kind: "lsh_buckets", file: "lsh_buckets" },
    { kind: "lsh_buckets_balanced", file: "lsh_buckets_balanced" },
    { kind: "lsh_buckets_relative", file: "lsh_buckets_balanced", more: { RELATIVE: 1 } },
  ];
  return kinds.flatMap(({ kind, file, more }) =>
    [64, 128].flatMap((D) =>
      [2, 4, 8, 16, 32, 64, 256].flatMap((buckets) =>
        ["", "_f16"].map((suffix) => ({
          name: `${kind}_d${D}b${buckets}${suffix}`,
          ...{ file, arch: "mma" },
          defines: { HEAD_DIM: D, BUCKETS: buckets, ...(suffix && { ELEMENT_F16: 1 }), ...more },
          check: suffix === (D === 64 ? "" : "_f16") && buckets === 16,
          mayNotSpill: true,
        })),
      ),
    ),
  );
}
