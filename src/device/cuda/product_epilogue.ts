import type { FloatType } from "../../tensor.ts";
import { i32, i64, pack, pointer } from "./kernel_arguments.ts";
import type { Product } from "./product.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;

/** What is done to the sums of a product [M, N] after it: the fields of `Product`, and where the sums lie. */
export interface ProductEpilogue
  extends Pick<Product, "M" | "N" | "type" | "bias" | "preGelu" | "slopeOf" | "residual" | "out"> {
  /** The address of the sums [M, N]; may be `preGelu` or `out`. */
  readonly sum: number;
  readonly sumType: FloatType;
}

/** Enqueues product_epilogue.cu. */
export function productEpilogue(runtime: CudaRuntime, p: ProductEpilogue): void {
  const memory = [p.sum, p.bias, p.preGelu, p.slopeOf, p.residual, p.out];
  const size = p.M * p.N;
  // Eight at a time never cross a row's end, so that one load serves their bias too.
  const width = p.N % 8 === 0 && memory.every((address) => address % 16 === 0) ? 8 : 1;
  const defines = { ELEMENT_F16: p.type === "f16" ? 1 : 0, SUM_F32: p.sumType === "f32" ? 1 : 0, WIDTH: width };
  runtime.launch(
    { file: "product_epilogue", defines },
    {
      grid: [Math.ceil(size / (threads * width))],
      threads,
      parameters: [pack([...memory.map(pointer), i64(size), i32(p.N)])],
    },
  );
}
