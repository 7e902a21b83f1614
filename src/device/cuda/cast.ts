import type { Ops } from "../ops.ts";
import { copy } from "./copy.ts";
import { areAligned, elementType } from "./elements.ts";
import { i32, i64, pack, pointer } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
const elementsPerBlock = threads * 16;

/** See `Ops.cast`. */
export function cast(runtime: CudaRuntime, { x, out }: Parameters<Ops["cast"]>[0]): void {
  if (x.dtype === out.dtype) {
    copy(runtime, { x, out });
    return;
  }
  runtime.launch(
    { file: "cast", defines: { FROM: elementType[x.dtype], TO: elementType[out.dtype] } },
    {
      grid: [Math.ceil(x.size / elementsPerBlock)],
      threads,
      parameters: [pack([pointer(x), pointer(out), i64(x.size), i32(areAligned(8, x, out) ? 1 : 0)])],
    },
  );
}
