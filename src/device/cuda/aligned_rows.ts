import { bytesPerElement, Tensor } from "../../tensor.ts";
import { copy } from "./copy.ts";
import { addressOf, type CudaStorage } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

/** Kernels read and write rows 16 bytes at a time. */
const rowBytes = 16;

/** What a kernel does with a tensor: reads it, writes all of it, or reads and writes it. */
export type Use = "read" | "write" | "update";

/**
 * Calls `use` with the same tensors, their rows where kernels can take them: each begins at a multiple of 16 bytes. A
 * tensor that is laid out otherwise is copied to scratch, and from there back if it is written.
 * @param tensors any with a contiguous last dimension whose size is a multiple of 8
 */
export function withAlignedRows<Names extends string>(
  runtime: CudaRuntime,
  tensors: Readonly<Record<Names, readonly [Tensor, Use]>>,
  use: (aligned: Record<Names, Tensor>) => void,
): void {
  const entries = Object.entries(tensors) as [Names, readonly [Tensor, Use]][];
  const given = Object.fromEntries(entries.map(([name, [tensor]]) => [name, tensor])) as Record<Names, Tensor>;
  const odd = entries.filter(([, [tensor]]) => !hasAlignedRows(tensor));
  if (odd.length === 0) {
    use(given);
    return;
  }
  const bytes = odd.map(([, [x]]) => Math.ceil((x.size * bytesPerElement[x.dtype]) / 256) * 256);
  const total = bytes.reduce((sum, n) => sum + n, 0);
  runtime.withScratch(total, (base) => {
    let at = base;
    const copies = odd.map(([name, [x, how]], n) => {
      const straight = scratchTensor(at, x);
      at += bytes[n]!;
      if (how !== "write") copy(runtime, { x, out: straight });
      return { name, how, x, straight };
    });
    use({ ...given, ...Object.fromEntries(copies.map(({ name, straight }) => [name, straight])) });
    for (const { how, x, straight } of copies) if (how !== "read") copy(runtime, { x: straight, out: x });
  });
}

/** Whether each row (the last dimension) begins at a multiple of `bytes`. */
export function hasAlignedRows(tensor: Tensor, bytes = rowBytes): boolean {
  if (tensor.size === 0) return true;
  const size = bytesPerElement[tensor.dtype];
  const outer = tensor.shape.slice(0, -1);
  return addressOf(tensor) % bytes === 0 && outer.every((d, n) => d === 1 || (tensor.strides[n]! * size) % bytes === 0);
}

/** Scratch as a contiguous tensor like another. */
function scratchTensor(address: number, { device, dtype, shape, size }: Tensor): Tensor {
  const storage: CudaStorage = { address, bytes: size * bytesPerElement[dtype] };
  return new Tensor(device, storage, dtype, [...shape]);
}
