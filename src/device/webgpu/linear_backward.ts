import type { Ops } from "../ops.ts";
import { addColumnSums } from "./column_sums.ts";
import { addProduct, asIs, product, turned } from "./product.ts";
import type { WebgpuRuntime } from "./runtime.ts";

/** See `Ops.linearBackwardInput`. */
export function linearBackwardInput(
  runtime: WebgpuRuntime,
  { dout, w, transposed, preGelu, accumulate, dx }: Parameters<Ops["linearBackwardInput"]>[0],
): void {
  const [M, N] = dx.shape as [number, number];
  const b = transposed ? asIs(w) : turned(w);
  const residual = accumulate ? dx : null;
  product(runtime, { M, N, K: dout.shape[1]!, a: asIs(dout), b, slopeOf: preGelu, residual, out: dx });
}

/** See `Ops.linearBackwardWeight`. */
export function linearBackwardWeight(
  runtime: WebgpuRuntime,
  { x, dout, transposed, dw, dBias }: Parameters<Ops["linearBackwardWeight"]>[0],
): void {
  const [M, N] = dw.shape as [number, number];
  const K = x.shape[0]!;
  const [rows, columns] = transposed ? [dout, x] : [x, dout];
  addProduct(runtime, { M, N, K, a: turned(rows), b: asIs(columns), out: dw });
  if (dBias) addColumnSums(runtime, { x: dout, N: K, C: dout.shape[1]!, out: dBias });
}
