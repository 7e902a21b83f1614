import type { Staircase } from "../../staircase/staircase.ts";
import type { Tensor } from "../../tensor.ts";
import { f32, type KernelArg } from "./runtime.ts";

const elementBytes = 4;

/** What every attention kernel is told first; the order of `AttentionArgs` in attention_tiles.as.ts. */
export function attentionArgs({
  q,
  k,
  v,
  lse,
  staircase,
  scale,
}: {
  q: Tensor;
  k: Tensor;
  v: Tensor;
  lse: Tensor;
  staircase: Staircase;
  scale: number;
}): KernelArg[] {
  const [, queries, heads, dims] = q.shape as [number, number, number, number];
  const [, keys, keyHeads] = k.shape as [number, number, number, number];
  const { qRows, kRows, lo, hi } = staircase;
  // The largest raw score is the largest scaled score only if the kernel's scale is positive.
  const sizes = [heads, keyHeads, dims, queries, keys, f32(Math.sign(scale)), f32(Math.abs(scale) || 1)];
  const tensors = [...rowArgs(q), ...rowArgs(k), ...rowArgs(v), ...perQueryArgs(lse)];
  const bounds = [...orderArgs(qRows), ...orderArgs(kRows), lo, hi, ...leadingStrides(lo)];
  return [...sizes, ...tensors, ...bounds];
}

/** A [B,T,H,D] tensor: address and byte strides of B, T, H. */
export function rowArgs(tensor: Tensor): KernelArg[] {
  return [tensor, ...tensor.strides.slice(0, 3).map((stride) => stride * elementBytes)];
}

/** A [B,H,T] tensor: address and byte strides of B, H, T. */
export function perQueryArgs(tensor: Tensor): KernelArg[] {
  return [tensor, ...tensor.strides.map((stride) => stride * elementBytes)];
}

function orderArgs(rows: Tensor<"i32"> | null): KernelArg[] {
  return rows ? [rows, ...leadingStrides(rows)] : [null, 0, 0];
}

/** Byte strides of B and H; 0 where one entry serves all. */
function leadingStrides(rows: Tensor<"i32">): number[] {
  return [0, 1].map((axis) => (rows.shape[axis] === 1 ? 0 : rows.strides[axis]! * elementBytes));
}
