import type { Ops } from "../ops.ts";
import { f32, i32, pack, pointer } from "./kernel_arguments.ts";
import { rowGeometry, takesWideRows } from "./row_geometry.ts";
import type { CudaRuntime } from "./runtime.ts";

/** See `Ops.layerNorm`. */
export function layerNorm(
  runtime: CudaRuntime,
  { x, weight, bias, epsilon, out, mean, rstd }: Parameters<Ops["layerNorm"]>[0],
): void {
  const [N, C] = x.shape;
  const tensors = [x, weight, bias, out, mean, rstd].map(pointer);
  const parameters = [pack([...tensors, i32(N), i32(C), f32(epsilon)])];
  const ELEMENT_F16 = x.dtype === "f16" ? 1 : 0;
  const geometry = takesWideRows(C, x, weight, bias, out) ? rowGeometry(C, { maxChunks: 4, maxWarps: 32 }) : null;
  if (!geometry) {
    const kernel = { file: "layer_norm", entry: "layer_norm_any", defines: { ELEMENT_F16 } };
    runtime.launch(kernel, { grid: [N], threads: 256, parameters });
    return;
  }
  const rows = geometry.ROW_WARPS === 1 ? 8 : 1;
  runtime.launch(
    { file: "layer_norm", defines: { ELEMENT_F16, ...geometry } },
    { grid: [Math.ceil(N / rows)], threads: 32 * geometry.ROW_WARPS * rows, parameters },
  );
}
