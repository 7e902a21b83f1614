import type { Ops } from "../ops.ts";
import { addColumnSums } from "./column_sums.ts";
import { u32 } from "./kernel_arguments.ts";
import { packsOf } from "./packs.ts";
import { teams } from "./reduce.ts";
import type { WebgpuRuntime } from "./runtime.ts";

/** See `Ops.layerNormBackward`. */
export function layerNormBackward(
  runtime: WebgpuRuntime,
  { x, weight, mean, rstd, dout, dx, dWeight, dBias }: Parameters<Ops["layerNormBackward"]>[0],
): void {
  const [N, C] = x.shape as [number, number];
  addColumnSums(runtime, { x: dout, N, C, out: dWeight, normalised: { y: x, mean, rstd } });
  if (dBias) addColumnSums(runtime, { x: dout, N, C, out: dBias });
  const packs = packsOf([C], [x, weight, dout, dx]);
  const { groups, constants } = teams(N, C / packs.width);
  runtime.launch(
    { file: "layer_norm_backward", uses: [packs.file, "reduce"], constants },
    {
      groups,
      reads: { x: packs.of(x), weight: packs.of(weight), mean, rstd, dout: packs.of(dout) },
      writes: { dx: packs.of(dx) },
      numbers: { N: u32(N), C: u32(C), packs: u32(C / packs.width) },
    },
  );
}
