import type { Ops } from "../ops.ts";
import { f32, u32 } from "./kernel_arguments.ts";
import { packsOf } from "./packs.ts";
import { teams } from "./reduce.ts";
import type { WebgpuRuntime } from "./runtime.ts";

/** See `Ops.layerNorm`. */
export function layerNorm(
  runtime: WebgpuRuntime,
  { x, weight, bias, epsilon, out, mean, rstd }: Parameters<Ops["layerNorm"]>[0],
): void {
  const [N, C] = x.shape as [number, number];
  const packs = packsOf([C], [x, weight, bias, out]);
  const { groups, constants } = teams(N, C / packs.width);
  runtime.launch(
    { file: "layer_norm", uses: [packs.file, "reduce"], constants },
    {
      groups,
      reads: { x: packs.of(x), weight: packs.of(weight), bias: packs.of(bias) },
      writes: { out: packs.of(out), mean, rstd },
      numbers: { N: u32(N), C: u32(C), packs: u32(C / packs.width), epsilon: f32(epsilon) },
    },
  );
}
