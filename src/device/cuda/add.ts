import type { Ops } from "../ops.ts";
import { areAligned, elementType } from "./elements.ts";
import { i32, i64, pack, pointer } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
/** Two groups of 16 bytes. */
const bytesPerThread = 32;

/** See `Ops.add`. */
export function add(runtime: CudaRuntime, { x, y, out }: Parameters<Ops["add"]>[0]): void {
  const elementsPerBlock = threads * (x.dtype === "f32" ? bytesPerThread / 4 : bytesPerThread / 2);
  const aligned = areAligned(8, x, y, out);
  runtime.launch(
    { file: "add", defines: { ELEMENT: elementType[x.dtype] } },
    {
      grid: [Math.ceil(x.size / elementsPerBlock)],
      threads,
      parameters: [pack([pointer(x), pointer(y), pointer(out), i64(x.size), i32(aligned ? 1 : 0)])],
    },
  );
}
