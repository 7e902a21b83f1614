import type { Ops } from "../ops.ts";
import { addColumnSums } from "./column_sums.ts";
import type { CpuRuntime } from "./runtime.ts";

const floatsPerTask = 1 << 15;

/** See `Ops.layerNormBackward`. */
export function layerNormBackward(
  runtime: CpuRuntime,
  { x, weight, mean, rstd, dout, dx, dWeight, dBias }: Parameters<Ops["layerNormBackward"]>[0],
): void {
  const [N, C] = x.shape;
  const rowsPerTask = Math.max(1, Math.floor(floatsPerTask / C));
  const tasks = Math.ceil(N / rowsPerTask);
  const weightPartials = runtime.allocate(tasks * C * 4);
  const biasPartials = dBias && runtime.allocate(tasks * C * 4);
  const args = [x, weight, mean, rstd, dout, dx, weightPartials, biasPartials, N, C, rowsPerTask];
  runtime.enqueue("layerNormBackward", { tasks, args });
  addColumnSums(runtime, weightPartials, tasks, dWeight);
  runtime.release(weightPartials);
  if (dBias && biasPartials) {
    addColumnSums(runtime, biasPartials, tasks, dBias);
    runtime.release(biasPartials);
  }
}
