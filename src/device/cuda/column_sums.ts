import type { Tensor } from "../../tensor.ts";
import { i32, pack, pointer } from "./kernel_arguments.ts";
import { takesWideRows } from "./row_geometry.ts";
import type { CudaRuntime } from "./runtime.ts";

/** Blocks of 256 threads that one processor has room for. */
const blocksPerProcessor = 8;
/** Below this a slab's rows cost less than its line of partial sums. */
const fewestSlabRows = 32;

/** out[c] += the sum of x[n, c] over n, in a fixed order; x [N,C] contiguous, bf16 or f16; out f32 [C]. */
export function columnSums(runtime: CudaRuntime, { x, out }: { x: Tensor; out: Tensor }): void {
  const [N, C] = x.shape;
  const WIDTH = takesWideRows(C, x) ? 8 : 1;
  const { slabs, slabRows } = slabsOf(runtime, N, Math.ceil(C / (32 * WIDTH)));
  runtime.withScratch(slabs * C * 4, (partials) => {
    runtime.launch(
      { file: "column_sums", defines: { ELEMENT_F16: x.dtype === "f16" ? 1 : 0, WIDTH } },
      {
        grid: [Math.ceil(C / (32 * WIDTH)), slabs],
        threads: 256,
        parameters: [pack([pointer(x), pointer(partials), i32(N), i32(C), i32(slabRows)])],
      },
    );
    addPartials(runtime, { partials, rows: slabs, outs: [out] });
  });
}

/**
 * Adds the column sums of f32 partials into outs, in a fixed order: one or two tensors of C elements, whose partials
 * [rows, C] lie one after the other.
 */
export function addPartials(
  runtime: CudaRuntime,
  { partials, rows, outs }: { partials: number; rows: number; outs: readonly [Tensor, Tensor?] },
): void {
  if (rows === 0) return;
  const C = outs[0].size;
  const fields = [pointer(partials), pointer(outs[0]), pointer(outs[1]), i32(rows), i32(C)];
  runtime.launch(
    { file: "column_sums", entry: "column_sums_add" },
    { grid: [Math.ceil(C / 32), outs[1] ? 2 : 1], threads: 1024, parameters: [pack(fields)] },
  );
}

/** Cuts N rows into slabs, enough that `blocks` blocks for each fill the device. */
export function slabsOf(runtime: CudaRuntime, N: number, blocks: number): { slabs: number; slabRows: number } {
  const wanted = Math.ceil((runtime.facts.processors * blocksPerProcessor) / Math.max(1, blocks));
  const slabRows = Math.max(fewestSlabRows, Math.ceil(N / wanted));
  return { slabs: Math.ceil(N / slabRows), slabRows };
}
