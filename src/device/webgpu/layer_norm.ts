import type { Ops } from "../ops.ts";
import { f32, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 128;

/** See `Ops.layerNorm`. */
export function layerNorm(
  runtime: WebgpuRuntime,
  { x, weight, bias, epsilon, out, mean, rstd }: Parameters<Ops["layerNorm"]>[0],
): void {
  const [N, C] = x.shape as [number, number];
  runtime.launch(
    { file: "layer_norm", uses: ["reduce"], constants: { THREADS: threads } },
    {
      groups: N,
      reads: { x, weight, bias },
      writes: { out, mean, rstd },
      numbers: { N: u32(N), C: u32(C), epsilon: f32(epsilon) },
    },
  );
}
