import type { DType, Tensor } from "../../tensor.ts";
import { addressOf } from "./kernel_arguments.ts";

/** Elements of two bytes in an access of 16. */
const chunk = 8;

/** How the kernels over rows of C elements share a row out. */
export interface RowGeometry {
  readonly ROW_WARPS: number;
  /** Chunks of 8 elements that a thread holds. */
  readonly CHUNKS: number;
}

/** The fewest warps, a power of two, that hold C elements in at most `maxChunks` chunks a thread; or nothing. */
export function rowGeometry(C: number, limits: { maxChunks: number; maxWarps: number }): RowGeometry | null {
  for (let ROW_WARPS = 1; ROW_WARPS <= limits.maxWarps; ROW_WARPS *= 2) {
    const CHUNKS = Math.max(1, Math.ceil(C / (chunk * 32 * ROW_WARPS)));
    if (CHUNKS <= limits.maxChunks) return { ROW_WARPS, CHUNKS };
  }
  return null;
}

/** Whether rows of C contiguous elements of these tensors of two-byte elements can be accessed by 16 bytes. */
export function takesWideRows(C: number, ...tensors: (Tensor<DType> | null)[]): boolean {
  return C % chunk === 0 && tensors.every((tensor) => !tensor || addressOf(tensor) % 16 === 0);
}

/** `takesWideRows` for strided tensors: every row must begin at a multiple of 16 bytes. */
export function takesWideViews(...tensors: Tensor<DType>[]): boolean {
  return tensors.every(
    ({ strides, shape }, n) =>
      takesWideRows(shape.at(-1)!, tensors[n]!) &&
      strides.slice(0, -1).every((stride, axis) => shape[axis] === 1 || stride % chunk === 0),
  );
}
