import type { Ops } from "../ops.ts";
import { type CpuRuntime, f32 } from "./runtime.ts";

const floatsPerTask = 1 << 14;

/** See `Ops.layerNorm`. */
export function layerNorm(
  runtime: CpuRuntime,
  { x, weight, bias, epsilon, out, mean, rstd }: Parameters<Ops["layerNorm"]>[0],
): void {
  const [N, C] = x.shape;
  const rowsPerTask = Math.max(1, Math.floor(floatsPerTask / C));
  runtime.enqueue("layerNorm", {
    tasks: Math.ceil(N / rowsPerTask),
    args: [x, weight, bias, f32(epsilon), out, mean, rstd, N, C, rowsPerTask],
  });
}
