import type { Ops } from "../ops.ts";
import { bits, f32, u32 } from "./kernel_arguments.ts";
import { packsOf } from "./packs.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/** See `Ops.adamw`. */
export function adamw(runtime: WebgpuRuntime, args: Parameters<Ops["adamw"]>[0]): void {
  const { param, computed, grad, m, v, norm, control, maxNorm, beta1, beta2, epsilon, weightDecay } = args;
  const clips = maxNorm < Number.POSITIVE_INFINITY;
  const packs = packsOf([param.size], [param, computed, grad, m, v]);
  const count = param.size / packs.width;
  runtime.launch(
    { file: "adamw", uses: [packs.file], constants: { THREADS: threads } },
    {
      groups: Math.ceil(count / threads),
      reads: { grad: packs.of(grad), norm: bits(norm), control },
      writes: { param: packs.of(param), m: packs.of(m), v: packs.of(v), computed: packs.of(computed) },
      numbers: {
        ...{ packs: u32(count), maxNorm: f32(clips ? maxNorm : 0), clips: u32(clips ? 1 : 0) },
        ...{ beta1: f32(beta1), oneLessBeta1: f32(1 - beta1), beta2: f32(beta2), oneLessBeta2: f32(1 - beta2) },
        ...{ epsilon: f32(epsilon), weightDecay: f32(weightDecay) },
      },
    },
  );
}
