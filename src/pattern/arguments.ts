import { DTypeError, ShapeError } from "../errors.ts";
import type { StaircaseRule } from "../staircase/staircase.ts";
import type { DType, Tensor } from "../tensor.ts";
import type { AttentionShape, Part } from "./pattern.ts";

/** @throws ShapeError unless `value` is a whole number from `least` to `most` */
export function requireWhole(
  op: string,
  name: string,
  value: number,
  { least, most = Number.POSITIVE_INFINITY, fix = "" }: { least: number; most?: number; fix?: string },
): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  const range = most === Number.POSITIVE_INFINITY ? `of at least ${least}` : `from ${least} to ${most}`;
  throw new ShapeError(op, `${name} is a whole number ${range}`, `${value}`, fix);
}

/** @throws DTypeError unless `tensor` is an i32 tensor */
export function requireIndices(op: string, name: string, tensor: Tensor<"i32">): void {
  const dtype: DType | undefined = (tensor as Tensor<DType> | undefined)?.dtype;
  if (dtype !== "i32") throw new DTypeError(op, `${name} is an i32 tensor`, dtype ?? `${tensor}`);
}

/** @throws ShapeError unless `tensor` has the given sizes; `letters` names them, like `[B, Tq, H]` */
export function requireSizes(
  op: string,
  name: string,
  tensor: Tensor<"i32"> | null,
  { letters, sizes, fix = "" }: { letters: string; sizes: readonly number[]; fix?: string },
): void {
  if (tensor === null) return;
  if (tensor.shape.length === sizes.length && sizes.every((size, i) => size === tensor.shape[i])) return;
  throw new ShapeError(op, `${name} must be ${letters} = [${sizes.join(", ")}]`, `[${tensor.shape.join(", ")}]`, fix);
}

/** Checks the tensors of a rule against the shape and makes it one part over all heads. */
export function partOfRule(
  op: string,
  names: { q: string; k: string },
  shape: AttentionShape,
  given: Partial<StaircaseRule>,
): Part[] {
  const { B, Tq, Tk, H, Hk } = shape;
  const rule: StaircaseRule = { ...everythingBefore, ...given };
  requireSizes(op, names.q, rule.qGroups, { letters: "[B, Tq, H]", sizes: [B, Tq, H] });
  requireSizes(op, names.k, rule.kGroups, { letters: "[B, Tk, Hk]", sizes: [B, Tk, Hk] });
  requireSizes(op, "documents", rule.documents, { letters: "[B, Tk]", sizes: [B, Tk] });
  return [{ firstHead: 0, headCount: H, staircase: { rule } }];
}

const everythingBefore: StaircaseRule = {
  documents: null,
  qGroups: null,
  kGroups: null,
  groupCount: 1,
  near: 0,
  far: Number.POSITIVE_INFINITY,
  chunk: Number.POSITIVE_INFINITY,
};
