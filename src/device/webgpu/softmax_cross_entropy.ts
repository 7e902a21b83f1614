import type { Ops } from "../ops.ts";
import { f32, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/** See `Ops.softmaxCrossEntropy`. */
export function softmaxCrossEntropy(
  runtime: WebgpuRuntime,
  { logits, targets, losses, gradScale }: Parameters<Ops["softmaxCrossEntropy"]>[0],
): void {
  const [N, V] = logits.shape as [number, number];
  runtime.launch(
    { file: "softmax_cross_entropy", uses: ["reduce"], constants: { THREADS: threads } },
    {
      groups: N,
      reads: { targets, gradScale },
      writes: { logits, losses },
      numbers: { N: u32(N), V: u32(V), nan: f32(Number.NaN), infinity: f32(Number.POSITIVE_INFINITY) },
    },
  );
}
