import type { Ops } from "../ops.ts";
import type { CpuRuntime } from "./runtime.ts";

const floatsPerTask = 1 << 14;

/** See `Ops.softmaxCrossEntropy`. */
export function softmaxCrossEntropy(
  runtime: CpuRuntime,
  { logits, targets, losses, gradScale }: Parameters<Ops["softmaxCrossEntropy"]>[0],
): void {
  const [N, V] = logits.shape;
  const rowsPerTask = Math.max(1, Math.floor(floatsPerTask / V));
  runtime.enqueue("softmaxCrossEntropy", {
    tasks: Math.ceil(N / rowsPerTask),
    args: [logits, targets, losses, N, V, rowsPerTask, gradScale ?? 0],
  });
}
