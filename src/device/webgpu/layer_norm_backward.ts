import type { Ops } from "../ops.ts";
import { addColumnSums } from "./column_sums.ts";
import { u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 128;

/** See `Ops.layerNormBackward`. */
export function layerNormBackward(
  runtime: WebgpuRuntime,
  { x, weight, mean, rstd, dout, dx, dWeight, dBias }: Parameters<Ops["layerNormBackward"]>[0],
): void {
  const [N, C] = x.shape as [number, number];
  addColumnSums(runtime, { x: dout, N, C, out: dWeight, normalised: { y: x, mean, rstd } });
  if (dBias) addColumnSums(runtime, { x: dout, N, C, out: dBias });
  runtime.launch(
    { file: "layer_norm_backward", uses: ["reduce"], constants: { THREADS: threads } },
    { groups: N, reads: { x, weight, mean, rstd, dout }, writes: { dx }, numbers: { N: u32(N), C: u32(C) } },
  );
}
