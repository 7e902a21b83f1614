import type { Ops } from "../ops.ts";
import { areAligned, elementType } from "./elements.ts";
import { addressOf, f32, i32, i64, pack, pointer } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
const elementsPerBlock = threads * 8;

/** See `Ops.adamw`. */
export function adamw(runtime: CudaRuntime, args: Parameters<Ops["adamw"]>[0]): void {
  const { param, grad, m, v, norm, control, maxNorm, beta1, beta2, epsilon, weightDecay } = args;
  // Where it is param itself, param is all there is to write.
  const computed = args.computed && addressOf(args.computed) !== addressOf(param) ? args.computed : null;
  const tensors = [param, grad, m, v, computed, norm, control].map(pointer);
  const numbers = [maxNorm, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, weightDecay].map(f32);
  const aligned = areAligned(4, param, grad, m, v, computed) ? 1 : 0;
  runtime.launch(
    { file: "adamw", defines: { COMPUTED: computed ? elementType[computed.dtype] : -1 } },
    {
      grid: [Math.ceil(param.size / elementsPerBlock)],
      threads,
      parameters: [pack([...tensors, i64(param.size), ...numbers, i32(aligned)])],
    },
  );
}
