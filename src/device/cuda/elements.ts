import { bytesPerElement, type DType, type FloatType, type Tensor } from "../../tensor.ts";
import { addressOf } from "./kernel_arguments.ts";

/** F32, F16 and BF16 of elements.cuh. */
export const elementType: Readonly<Record<FloatType, number>> = { f32: 0, f16: 1, bf16: 2 };

/** Whether every tensor given begins at a multiple of `elements` of its elements, 16 bytes at most. */
export function areAligned(elements: number, ...tensors: (Tensor<DType> | null | undefined)[]): boolean {
  return tensors.every(
    (tensor) => !tensor || addressOf(tensor) % Math.min(16, elements * bytesPerElement[tensor.dtype]) === 0,
  );
}
