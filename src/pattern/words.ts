import type { Tensor } from "../tensor.ts";
import { type AttentionShape, keyHeadOf } from "./pattern.ts";

// What the masks, which state each pattern in words, have in common. Nothing here is used to make staircases.

/** Where query row i stands among the keys: the last query stands at the last key. */
export function positionOf({ Tq, Tk }: AttentionShape, i: number): number {
  return i + Tk - Tq;
}

/** Reads [B, Tq, H] values as a function of (b, h, i). */
export async function queryValues(
  tensor: Tensor<"i32">,
  { Tq, H }: AttentionShape,
): Promise<(b: number, h: number, i: number) => number> {
  const values = await tensor.read();
  return (b, h, i) => values[(b * Tq + i) * H + h];
}

/** Reads [B, Tk, Hk] values as a function of (b, h, j), h being a query head. */
export async function keyValues(
  tensor: Tensor<"i32">,
  shape: AttentionShape,
): Promise<(b: number, h: number, j: number) => number> {
  const values = await tensor.read();
  return (b, h, j) => values[(b * shape.Tk + j) * shape.Hk + keyHeadOf(shape, h)];
}

/** Whether two positions lie in one run of equal ids; always true without ids. A position before 0 is in no document. */
export async function sameDocument(
  ids: Tensor<"i32"> | null,
  { Tk }: AttentionShape,
): Promise<(b: number, p: number, j: number) => boolean> {
  if (ids === null) return () => true;
  const values = await ids.read();
  return (b, p, j) => {
    const between = values.subarray(b * Tk + Math.min(p, j), b * Tk + Math.max(p, j) + 1);
    return p >= 0 && between.every((id) => id === between[0]);
  };
}
