import type { Ops } from "../ops.ts";
import { asIs, product, turned } from "./product.ts";
import type { WebgpuRuntime } from "./runtime.ts";

/** See `Ops.linear`. */
export function linear(
  runtime: WebgpuRuntime,
  { x, w, transposed, bias, residual, preGelu, out }: Parameters<Ops["linear"]>[0],
): void {
  const [M, N] = out.shape as [number, number];
  const b = transposed ? turned(w) : asIs(w);
  product(runtime, { M, N, K: x.shape[1]!, a: asIs(x), b, bias, preGelu, residual, out });
}
