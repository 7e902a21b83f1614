import type { Ops } from "../ops.ts";
import { f32, u32 } from "./kernel_arguments.ts";
import { packsOf } from "./packs.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/** See `Ops.softmaxCrossEntropy`. */
export function softmaxCrossEntropy(
  runtime: WebgpuRuntime,
  { logits, targets, losses, gradScale }: Parameters<Ops["softmaxCrossEntropy"]>[0],
): void {
  const [N, V] = logits.shape as [number, number];
  const packs = packsOf([V], [logits]);
  const numbers = { N: u32(N), V: u32(V), packs: u32(V / packs.width) };
  runtime.launch(
    {
      file: "softmax_cross_entropy",
      uses: [packs.file, "reduce"],
      constants: { THREADS: threads, LANES: threads },
    },
    {
      groups: N,
      reads: { targets, gradScale },
      writes: { logits: packs.of(logits), losses },
      numbers: { ...numbers, nan: f32(Number.NaN), infinity: f32(Number.POSITIVE_INFINITY) },
    },
  );
}
