import type { Staircase } from "../../staircase/staircase.ts";
import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { blocks, f32, type MaybeOperand, type NumberField, type Operand, quads, u32 } from "./kernel_arguments.ts";
import type { KernelRequest, WebgpuRuntime } from "./runtime.ts";

export type AttentionKernel = "attention_forward" | "attention_backward_queries" | "attention_backward_keys";

/** Which form of an attention kernel, and how its launcher calls it. */
export interface AttentionForm {
  readonly request: Required<Pick<KernelRequest, "file" | "uses" | "constants">>;
  /** Rows that a workgroup owns. */
  readonly tile: number;
  /** How it reads rows of q, k, v and dout. */
  readonly rows: (tensor: Tensor) => MaybeOperand;
}

/** Rows of a tile, and features of a span, of attention_tile.wgsl. */
const tile = 64;
/** Workgroup memory that its longer chunks take; every GPU has 16 KiB. */
const longChunkBytes = 17 * 1024;

/**
 * The form of a kernel for these rows: by subgroup matrices where the tier has them, for f16 up to D = 128 where
 * workgroup memory holds their tiles; else the one for all types, sizes and GPUs.
 */
export function attentionForm(
  { tier, limits }: WebgpuRuntime,
  kernel: AttentionKernel,
  { dtype, shape }: Tensor,
): AttentionForm {
  const D = shape[3]!;
  if (tier === "matrices" && dtype === "f16") {
    for (const share of matrixShares[kernel]) {
      const { bytes, ...form } = matrixForm(kernel, D, share);
      if (D <= share.mostD && bytes <= limits.maxComputeWorkgroupStorageSize) return form;
    }
  }
  const CHUNK = limits.maxComputeWorkgroupStorageSize < longChunkBytes ? 16 : 32;
  const constants = { CHUNK, CHUNKS: Math.ceil(D / CHUNK), SPANS: Math.ceil(D / tile), PARTS: tile / CHUNK };
  return { request: { file: kernel, uses: ["attention_tile"], constants }, tile, rows: quads };
}

/** What a subgroup of a matrix kernel has at once: blocks of own rows, tiles in workgroup memory, areas of weights. */
interface MatrixShare {
  readonly BLOCKS: number;
  readonly TILES: number;
  readonly AREAS: number;
  /** Beyond, its sums do not fit into its registers. */
  readonly mostD: number;
}

/** The best first. Two blocks read each matrix of a tile once for both, which is what the forward kernel waits for. */
const matrixShares: Record<AttentionKernel, readonly MatrixShare[]> = {
  attention_forward: [
    { BLOCKS: 2, TILES: 2, AREAS: 2, mostD: 64 },
    { BLOCKS: 1, TILES: 1, AREAS: 1, mostD: 128 },
  ],
  attention_backward_queries: [{ BLOCKS: 1, TILES: 1, AREAS: 1, mostD: 128 }],
  attention_backward_keys: [{ BLOCKS: 1, TILES: 2, AREAS: 2, mostD: 128 }],
};
const matrixUses: Record<AttentionKernel, readonly string[]> = {
  attention_forward: ["attention_matrices", "attention_own_queries"],
  attention_backward_queries: ["attention_matrices", "attention_own_queries"],
  attention_backward_keys: ["attention_matrices"],
};
const side = 16;
const lanes = 32;
const SUBGROUPS = 4;
/** Matrices along a row of scores. */
const COLUMNS = 2;

/** Sizes are those of attention_matrices.wgsl. */
function matrixForm(kernel: AttentionKernel, D: number, { BLOCKS, TILES, AREAS }: MatrixShare) {
  const DEPTH = Math.ceil(D / side);
  const walked = COLUMNS * side;
  const [fours, row] = [walked / 4, DEPTH * 2 + 1];
  const constants = {
    ...{ SUBGROUPS, BLOCKS, DEPTH, COLUMNS, TILES, AREAS, WHOLE_ROWS: D % side === 0 },
    PARTS: Math.ceil(DEPTH / COLUMNS),
    LANE_ROWS: (side * fours) / lanes,
    CARRIED: Math.ceil((walked * DEPTH * 2) / (SUBGROUPS * lanes)),
  };
  const tile = SUBGROUPS * BLOCKS * side;
  const area = side * Math.max(fours + 2, AREAS * (fours / 2 + 1), row);
  return {
    request: { file: `${kernel}_matrices`, uses: matrixUses[kernel], constants },
    ...{ tile, rows: blocks },
    // Tiles and areas; a row and bounds for each own row, numbers for each walked one; where it walks.
    bytes: 16 * (TILES * walked * row + SUBGROUPS * area) + 12 * tile + 8 * walked + 32,
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
