import type { Ops } from "../ops.ts";
import { areAligned } from "./elements.ts";
import { i32, i64, pack, pointer } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
const elementsPerChunk = threads * 16;
/** So many blocks keep every GPU of today busy; a fixed number, so that the order of the sum is the size's alone. */
const mostShares = 1024;

/** See `Ops.gradNorm`. */
export function gradNorm(runtime: CudaRuntime, { grad, norm }: Parameters<Ops["gradNorm"]>[0]): void {
  const shares = Math.min(mostShares, Math.ceil(grad.size / elementsPerChunk));
  runtime.withScratch(8 * mostShares, (partials) => {
    const fields = [pointer(grad), pointer(partials), pointer(norm), i64(grad.size)];
    const parameters = [pack([...fields, i32(shares), i32(areAligned(4, grad) ? 1 : 0)])];
    runtime.launch({ file: "grad_norm", entry: "square_sums" }, { grid: [shares], threads, parameters });
    runtime.launch({ file: "grad_norm", entry: "root_of_sums" }, { grid: [1], threads, parameters });
  });
}
