import type { Ops } from "../ops.ts";
import { i32, pack, pointer } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const chunkBytes = 16;
/** Shared memory of a block that is not the row's: the kernel's own, and what the driver keeps. */
const otherSharedBytes = 512;
const reservedSharedBytes = 1024;

/** See `Ops.softmaxCrossEntropy`. */
export function softmaxCrossEntropy(
  runtime: CudaRuntime,
  { logits, targets, losses, gradScale }: Parameters<Ops["softmaxCrossEntropy"]>[0],
): void {
  const [N, V] = logits.shape;
  const { threads, heldChunks } = geometry(V, runtime.facts.sharedBytesPerBlock, Boolean(gradScale));
  const tensors = [logits, targets, losses, gradScale].map(pointer);
  runtime.launch(
    { file: "softmax_cross_entropy", defines: { ELEMENT_F16: logits.dtype === "f16" ? 1 : 0 } },
    {
      grid: [N],
      threads,
      sharedBytes: heldChunks * chunkBytes,
      parameters: [pack([...tensors, i32(V), i32(heldChunks)])],
    },
  );
}

/**
 * Threads for a row of V two-byte elements, and how much of it fits into shared memory. Two blocks on a processor, one
 * of which reads while the other computes, are best; where a row leaves no room for a second, one of all threads.
 */
function geometry(V: number, sharedBytesPerBlock: number, hasGradient: boolean) {
  const chunks = Math.floor(V / 8);
  const room = Math.floor((sharedBytesPerBlock - otherSharedBytes) / chunkBytes);
  const heldChunks = hasGradient ? Math.min(chunks, room) : 0;
  const bytes = heldChunks * chunkBytes + otherSharedBytes + reservedSharedBytes;
  const most = 2 * bytes <= sharedBytesPerBlock + reservedSharedBytes ? 512 : 1024;
  const threads = Math.min(most, Math.max(32, Math.ceil(chunks / 32) * 32));
  return { threads, heldChunks };
}
