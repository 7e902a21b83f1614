import { i32, i64, pack, pointer } from "./kernel_arguments.ts";
import type { Product } from "./product.ts";
import type { CudaRuntime } from "./runtime.ts";

/** linear_any.cu holds the same numbers. */
const [tile, threads] = [64, 256];

/** Enqueues linear_any.cu: any product, of any size and alignment. */
export function linearAny(runtime: CudaRuntime, p: Product): void {
  const { M, N, K, a, b } = p;
  const defines = { ELEMENT_F16: p.type === "f16" ? 1 : 0, OUT_F32: p.outType === "f32" ? 1 : 0 };
  const strides = (turned: boolean, rows: number, columns: number) =>
    turned ? [i64(1), i64(rows)] : [i64(columns), i64(1)];
  const fields = [
    ...[pointer(a.address), ...strides(a.turned, M, K)],
    ...[pointer(b.address), ...strides(b.turned, K, N)],
    ...[p.bias, p.preGelu, p.slopeOf, p.residual, p.out].map(pointer),
    ...[i32(M), i32(N), i32(K)],
  ];
  const grid = [Math.ceil(M / tile), Math.ceil(N / tile)] as const;
  runtime.launch({ file: "linear_any", defines }, { grid, threads, parameters: [pack(fields)] });
}
