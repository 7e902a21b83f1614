import type { Ops } from "../ops.ts";
import { columnSums } from "./column_sums.ts";
import { addressOf } from "./kernel_arguments.ts";
import { addressOrNone, asIs, product, turned } from "./product.ts";
import type { CudaRuntime } from "./runtime.ts";

/** See `Ops.linearBackwardInput`. */
export function linearBackwardInput(
  runtime: CudaRuntime,
  { dout, w, transposed, preGelu, accumulate, dx }: Parameters<Ops["linearBackwardInput"]>[0],
): void {
  const type = dout.dtype as "bf16" | "f16";
  product(runtime, {
    ...{ M: dout.shape[0], N: dx.shape[1], K: dout.shape[1], type, outType: type },
    ...{ a: asIs(dout), b: transposed ? asIs(w) : turned(w) },
    ...{ bias: 0, preGelu: 0, slopeOf: addressOrNone(preGelu) },
    ...{ residual: accumulate ? addressOf(dx) : 0, out: addressOf(dx) },
  });
}

/** See `Ops.linearBackwardWeight`. */
export function linearBackwardWeight(
  runtime: CudaRuntime,
  { x, dout, transposed, dw, dBias }: Parameters<Ops["linearBackwardWeight"]>[0],
): void {
  if (x.shape[0] === 0) return;
  const [rows, columns] = transposed ? [dout, x] : [x, dout];
  product(runtime, {
    ...{ M: dw.shape[0], N: dw.shape[1], K: x.shape[0], type: x.dtype as "bf16" | "f16", outType: "f32" },
    ...{ a: turned(rows), b: asIs(columns) },
    ...{ bias: 0, preGelu: 0, slopeOf: 0 },
    ...{ residual: addressOf(dw), out: addressOf(dw) },
  });
  if (dBias) columnSums(runtime, { x: dout, out: dBias });
}
