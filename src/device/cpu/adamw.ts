import { DTypeError } from "../../errors.ts";
import type { Ops } from "../ops.ts";
import { type CpuRuntime, f32 } from "./runtime.ts";

const perTask = 1 << 14;

/** See `Ops.adamw`. */
export function adamw(runtime: CpuRuntime, args: Parameters<Ops["adamw"]>[0]): void {
  const { param, computed, grad, m, v, norm, control, maxNorm, beta1, beta2, epsilon, weightDecay } = args;
  if (computed && computed.dtype !== "f32") throw new DTypeError("adamw", "computed is f32 on the CPU", computed.dtype);
  const numbers = [maxNorm, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, weightDecay].map(f32);
  runtime.enqueue("adamw", {
    tasks: Math.ceil(param.size / perTask),
    args: [param, computed ?? param, grad, m, v, norm, control, param.size, perTask, ...numbers],
  });
}
