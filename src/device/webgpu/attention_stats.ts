import type { Tensor } from "../../tensor.ts";
import { type Operand, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/**
 * Puts side by side what the backward reads of a query, so that it binds one buffer for both, and few in all.
 * @param args lse, delta f32 [B,H,Tq]; stats f32 [B,H,Tq,2], of which every row is written: (lse * log2 e, delta)
 */
export function attentionStats(
  runtime: WebgpuRuntime,
  { lse, delta, stats }: { lse: Tensor; delta: Operand; stats: Operand },
): void {
  const [B, H, T] = lse.shape as [number, number, number];
  const N = B * H * T;
  runtime.launch(
    { file: "attention_stats", constants: { THREADS: threads } },
    {
      groups: Math.ceil(N / threads),
      reads: { lse, delta },
      writes: { stats },
      numbers: { N: u32(N), T: u32(T), H: u32(H) },
    },
  );
}
