import type { Ops } from "../ops.ts";
import { gemm, rowMajor, turned } from "./gemm.ts";
import type { CpuRuntime } from "./runtime.ts";

/** See `Ops.linear`. */
export function linear(
  runtime: CpuRuntime,
  { x, w, transposed, bias, residual, preGelu, out }: Parameters<Ops["linear"]>[0],
): void {
  gemm(runtime, {
    a: rowMajor(x),
    b: transposed ? turned(rowMajor(w)) : rowMajor(w),
    K: x.shape[1],
    out,
    epilogue: { bias: bias ?? null, preGelu: preGelu ?? null, residual: residual ?? null },
    packFirst: true,
  });
}
