import type { Ops } from "../ops.ts";
import { u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;
const mostRuns = 1024;

/** See `Ops.gradNorm`. */
export function gradNorm(runtime: WebgpuRuntime, { grad, norm }: Parameters<Ops["gradNorm"]>[0]): void {
  const runs = Math.min(mostRuns, Math.max(1, Math.ceil(grad.size / (16 * threads))));
  const constants = (isLast: boolean) => ({ THREADS: threads, IS_LAST: isLast });
  const kernel = { file: "grad_norm", uses: ["reduce"] };
  runtime.withScratch(runs, "f32", (partials) => {
    const squares = { reads: { x: grad }, writes: { out: partials }, numbers: { count: u32(grad.size) } };
    runtime.launch({ ...kernel, constants: constants(false) }, { groups: runs, ...squares });
    const root = { reads: { x: partials }, writes: { out: norm }, numbers: { count: u32(runs) } };
    runtime.launch({ ...kernel, constants: constants(true) }, { groups: 1, ...root });
  });
}
