import type { Staircase } from "../../staircase/staircase.ts";
import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { f32, type NumberField, type Operand, u32 } from "./kernel_arguments.ts";

/** Rows of a tile, and features of a chunk, of attention_tile.wgsl. */
export const tile = 32;
const chunk = 32;

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

export function columnTables({ qLo, qHi }: Staircase): Record<string, Operand | null> {
  return { qLo: table(qLo), qHi: table(qHi) };
}

/** What all attention kernels are told and specialised by. */
export function attentionSizes({ q, k, scale }: Pick<Parameters<Ops["attentionForward"]>[0], "q" | "k" | "scale">): {
  numbers: Record<string, NumberField>;
  CHUNKS: number;
} {
  const [, Tq, H, D] = q.shape as [number, number, number, number];
  const [B, Tk, Hk] = k.shape as [number, number, number];
  const sizes = { B: u32(B), H: u32(H), Hk: u32(Hk), Tq: u32(Tq), Tk: u32(Tk), D: u32(D) };
  const scales = { scale: f32(scale), scaleLog2: f32(scale * Math.LOG2E) };
  return { numbers: { ...sizes, ...scales }, CHUNKS: Math.ceil(D / chunk) };
}
