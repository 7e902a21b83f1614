import type { Tensor } from "../../tensor.ts";
import type { CpuRuntime, KernelArg } from "./runtime.ts";

const columnsPerTask = 32;

/** out[c] += the sum of x[n, c] over n; x holds [N, C] floats, C the size of out. */
export function addColumnSums(runtime: CpuRuntime, x: KernelArg, N: number, out: Tensor): void {
  const C = out.size;
  runtime.enqueue("addColumnSums", { tasks: Math.ceil(C / columnsPerTask), args: [x, out, N, C, columnsPerTask] });
}
