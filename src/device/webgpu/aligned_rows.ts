import type { Tensor } from "../../tensor.ts";
import { copy } from "./copy.ts";
import { isAlignedTo } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

/** Elements that kernels take at once at most. */
const alignment = 8;

/**
 * Runs `use` on tensors whose rows all begin at whole multiples of 8 elements: the given ones, or copies of those that
 * do not, which are rare. What `use` wrote into a copy is copied back.
 * @param reads what `use` reads
 * @param writes what it writes, every row or in addition to what is there
 */
export function withAlignedRows<R extends Record<string, Tensor>, W extends Record<string, Tensor>>(
  runtime: WebgpuRuntime,
  { reads, writes }: { reads: R; writes: W },
  use: (tensors: R & W) => void,
): void {
  const copies: { copied: Tensor; original: Tensor; isWritten: boolean }[] = [];
  const aligned = (tensors: Record<string, Tensor>, isWritten: boolean): [string, Tensor][] =>
    Object.entries(tensors).map(([name, original]) => {
      if (isAlignedTo(alignment, original)) return [name, original];
      const copied = original.device.empty(original.shape, original.dtype);
      copies.push({ copied, original, isWritten });
      copy(runtime, { x: original, out: copied });
      return [name, copied];
    });
  try {
    use(Object.fromEntries([...aligned(reads, false), ...aligned(writes, true)]) as R & W);
    for (const { copied, original, isWritten } of copies) {
      if (isWritten) copy(runtime, { x: copied, out: original });
    }
  } finally {
    for (const { copied } of copies) copied.dispose();
  }
}
