import type { Ops } from "../ops.ts";
import type { CpuRuntime } from "./runtime.ts";

const perTask = 1 << 15;

/** See `Ops.gradNorm`. */
export function gradNorm(runtime: CpuRuntime, { grad, norm }: Parameters<Ops["gradNorm"]>[0]): void {
  const tasks = Math.ceil(grad.size / perTask);
  const partials = runtime.allocate(tasks * 8);
  runtime.enqueue("squareSums", { tasks, args: [grad, partials, grad.size, perTask] });
  runtime.enqueue("rootOfSums", { tasks: 1, args: [partials, tasks, norm] });
  runtime.release(partials);
}
