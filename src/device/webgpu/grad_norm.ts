import type { Ops } from "../ops.ts";
import { type Operand, u32 } from "./kernel_arguments.ts";
import { type Packs, packsOf } from "./packs.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;
const mostRuns = 1024;

/** See `Ops.gradNorm`. */
export function gradNorm(runtime: WebgpuRuntime, { grad, norm }: Parameters<Ops["gradNorm"]>[0]): void {
  const runs = Math.min(mostRuns, Math.max(1, Math.ceil(grad.size / (16 * threads))));
  runtime.withScratch(runs, "f32", (partials) => {
    const launch = (isLast: boolean, packs: Packs, x: Operand, count: number, out: Operand) =>
      runtime.launch(
        {
          file: "grad_norm",
          uses: [packs.file, "reduce"],
          constants: { THREADS: threads, LANES: threads, IS_LAST: isLast },
        },
        {
          groups: isLast ? 1 : runs,
          reads: { x: packs.of(x) },
          writes: { out },
          numbers: { packs: u32(count / packs.width) },
        },
      );
    launch(false, packsOf([grad.size], [grad]), grad, grad.size, partials);
    launch(true, packsOf([runs], [partials]), partials, runs, norm);
  });
}
