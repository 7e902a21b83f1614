import type { Staircase } from "../../staircase/staircase.ts";
import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { blocks, f32, type NumberField, type Operand, u32 } from "./kernel_arguments.ts";
import type { KernelRequest, WebgpuRuntime } from "./runtime.ts";

export type AttentionKernel = "attention_forward" | "attention_backward_queries" | "attention_backward_keys";

/** Which form of an attention kernel, and how its launcher calls it. */
export interface AttentionForm {
  readonly request: Required<Pick<KernelRequest, "file" | "uses" | "constants">>;
  /** Rows that a workgroup owns. */
  readonly tile: number;
  /** How it reads rows of q, k, v and dout. */
  readonly rows: (tensor: Tensor) => Operand;
}

/** Beyond, a subgroup's matrices do not fit into its registers, nor its tiles into workgroup memory. */
const mostFeaturesOfMatrices = 128;
const side = 16;
const subgroups = 4;
/** Features of a chunk of attention_tile.wgsl. */
const chunk = 32;

/**
 * The form of a kernel for these rows: by subgroup matrices where the GPU has them, for f16 up to D = 128; else the one
 * for all types, sizes and GPUs.
 */
export function attentionForm(
  { tier }: WebgpuRuntime,
  kernel: AttentionKernel,
  { dtype, shape }: Tensor,
): AttentionForm {
  const D = shape[3]!;
  if (tier === "matrices" && dtype === "f16" && D <= mostFeaturesOfMatrices) return matrixForm(kernel, D);
  const constants = { CHUNKS: Math.ceil(D / chunk) };
  return { request: { file: kernel, uses: ["attention_tile"], constants }, tile: 32, rows: (tensor) => tensor };
}

/** A subgroup owns 32 rows where its registers hold their sums, else 16. */
function matrixForm(kernel: AttentionKernel, D: number): AttentionForm {
  const holdsTwoSums = kernel === "attention_backward_keys";
  const BLOCKS = D <= 64 && !holdsTwoSums ? 2 : 1;
  const constants = { BLOCKS, FEATURES: Math.ceil(D / side) * side, AREAS: holdsTwoSums ? 2 : 1 };
  return {
    request: { file: `${kernel}_matrices`, uses: ["attention_matrices"], constants },
    tile: subgroups * BLOCKS * side,
    rows: blocks,
  };
}

/** A table [B|1, H|1, T], or null: what is the same for all lies at a stride of 0. */
function table(tensor: Tensor<"i32"> | null): Operand | null {
  if (!tensor) return null;
  const { storage, dtype, offset, shape } = tensor;
  return { storage, dtype, offset, strides: tensor.strides.map((stride, axis) => (shape[axis] === 1 ? 0 : stride)) };
}

/** The tables of a staircase, by rows or by columns. */
export function staircaseTables({ qRows, kRows, lo, hi }: Staircase): Record<string, Operand | null> {
  return { qRows: table(qRows), kRows: table(kRows), lo: table(lo), hi: table(hi) };
}

export function columnTables({ qRows, kRows, qLo, qHi }: Staircase): Record<string, Operand | null> {
  return { qRows: table(qRows), kRows: table(kRows), qLo: table(qLo), qHi: table(qHi) };
}

/** What all attention kernels are told. */
export function attentionNumbers({
  q,
  k,
  scale,
}: Pick<Parameters<Ops["attentionForward"]>[0], "q" | "k" | "scale">): Record<string, NumberField> {
  const [, Tq, H, D] = q.shape as [number, number, number, number];
  const [B, Tk, Hk] = k.shape as [number, number, number];
  const sizes = { B: u32(B), H: u32(H), Hk: u32(Hk), Tq: u32(Tq), Tk: u32(Tk), D: u32(D) };
  return { ...sizes, scale: f32(scale), scaleLog2: f32(scale * Math.LOG2E) };
}

/** A workgroup for every tile of every head's rows, and what tells it which. */
export function attentionGrid(heads: number, rows: number, { tile }: AttentionForm) {
  const tiles = Math.ceil(rows / tile);
  return { groups: heads * tiles, numbers: { heads: u32(heads), tiles: u32(tiles) } };
}
