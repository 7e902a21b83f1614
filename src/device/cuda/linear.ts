import type { Ops } from "../ops.ts";
import { addressOf } from "./kernel_arguments.ts";
import { addressOrNone, asIs, product, turned } from "./product.ts";
import type { CudaRuntime } from "./runtime.ts";

/** See `Ops.linear`. */
export function linear(
  runtime: CudaRuntime,
  { x, w, transposed, bias, residual, preGelu, out }: Parameters<Ops["linear"]>[0],
): void {
  const type = x.dtype as "bf16" | "f16";
  product(runtime, {
    ...{ M: x.shape[0], N: out.shape[1], K: x.shape[1], type, outType: type },
    ...{ a: asIs(x), b: transposed ? turned(w) : asIs(w) },
    ...{ bias: addressOrNone(bias), preGelu: addressOrNone(preGelu), slopeOf: 0 },
    ...{ residual: addressOrNone(residual), out: addressOf(out) },
  });
}
