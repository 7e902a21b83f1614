import type { Ops } from "../ops.ts";
import { type CpuRuntime, f32 } from "./runtime.ts";

const perTask = 1 << 14;

/** See `Ops.adamw`. */
export function adamw(runtime: CpuRuntime, args: Parameters<Ops["adamw"]>[0]): void {
  const { param, grad, m, v, norm, control, maxNorm, beta1, beta2, epsilon, weightDecay } = args;
  const numbers = [maxNorm, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, weightDecay].map(f32);
  runtime.enqueue("adamw", {
    tasks: Math.ceil(param.size / perTask),
    args: [param, grad, m, v, norm, control, param.size, perTask, ...numbers],
  });
}
