import type { Ops } from "../ops.ts";
import { addColumnSums } from "./column_sums.ts";
import { gemm, rowMajor, turned } from "./gemm.ts";
import type { CpuRuntime } from "./runtime.ts";

/** See `Ops.linearBackwardInput`. */
export function linearBackwardInput(
  runtime: CpuRuntime,
  { dout, w, transposed, preGelu, accumulate, dx }: Parameters<Ops["linearBackwardInput"]>[0],
): void {
  gemm(runtime, {
    a: rowMajor(dout),
    b: transposed ? rowMajor(w) : turned(rowMajor(w)),
    K: dout.shape[1],
    out: dx,
    epilogue: { slopeOf: preGelu ?? null, residual: accumulate ? dx : null },
    packFirst: true,
  });
}

/** See `Ops.linearBackwardWeight`. */
export function linearBackwardWeight(
  runtime: CpuRuntime,
  { x, dout, transposed, dw, dBias }: Parameters<Ops["linearBackwardWeight"]>[0],
): void {
  const [rows, columns] = transposed ? [dout, x] : [x, dout];
  gemm(runtime, {
    a: turned(rowMajor(rows)),
    b: rowMajor(columns),
    K: x.shape[0],
    out: dw,
    epilogue: { residual: dw },
    packFirst: false,
  });
  if (dBias) addColumnSums(runtime, dout, x.shape[0], dBias);
}
