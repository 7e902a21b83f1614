import type { Ops } from "../ops.ts";
import { addPartials, slabsOf } from "./column_sums.ts";
import { i32, pack, pointer } from "./kernel_arguments.ts";
import { type RowGeometry, rowGeometry, takesWideRows } from "./row_geometry.ts";
import type { CudaRuntime, KernelRequest } from "./runtime.ts";

type Args = Parameters<Ops["layerNormBackward"]>[0];

const file = "layer_norm_backward";
/** Threads that one processor holds, by the kernel's registers. */
const threadsPerProcessor = 512;
const columnsPerBlock = 32;

/** See `Ops.layerNormBackward`. */
export function layerNormBackward(runtime: CudaRuntime, args: Args): void {
  const { x, weight, dout, dx } = args;
  const C = weight.size;
  const geometry = takesWideRows(C, x, weight, dout, dx) ? rowGeometry(C, { maxChunks: 3, maxWarps: 16 }) : null;
  if (geometry) backwardWide(runtime, args, geometry);
  else backwardAny(runtime, args);
}

/** One pass by a grid that fills the device once; then its partial sums are added. */
function backwardWide(runtime: CudaRuntime, args: Args, geometry: RowGeometry): void {
  const [N] = args.x.shape;
  const rows = geometry.ROW_WARPS === 1 ? 8 : 1;
  const threads = 32 * geometry.ROW_WARPS * rows;
  const blocks = Math.min(Math.ceil(N / rows), runtime.facts.processors * (threadsPerProcessor / threads));
  withPartials(runtime, args, blocks, (partials) => {
    const kernel: KernelRequest = { file, defines: { ...definesOf(args), ...geometry } };
    runtime.launch(kernel, { grid: [blocks], threads, parameters: [fieldsOf(args, partials)] });
  });
}

/** Partial sums and dx apart: any width, any alignment. */
function backwardAny(runtime: CudaRuntime, args: Args): void {
  const [N, C] = args.x.shape;
  const blocks = Math.ceil(C / columnsPerBlock);
  const { slabs, slabRows } = slabsOf(runtime, N, blocks);
  const defines = definesOf(args);
  withPartials(runtime, args, slabs, (partials) => {
    const parameters = [fieldsOf(args, partials, slabRows)];
    const grid = [blocks, slabs] as const;
    runtime.launch({ file, entry: "layer_norm_backward_columns", defines }, { grid, threads: 256, parameters });
    runtime.launch({ file, entry: "layer_norm_backward_any", defines }, { grid: [N], threads: 256, parameters });
  });
}

/** Has `make` leave lines of partial sums, [rows, C] for dWeight and then for dBias, and adds them up. */
function withPartials(
  runtime: CudaRuntime,
  { weight, dWeight, dBias }: Args,
  rows: number,
  make: (partials: number) => void,
): void {
  const outs = dBias ? ([dWeight, dBias] as const) : ([dWeight] as const);
  runtime.withScratch(outs.length * rows * weight.size * 4, (partials) => {
    make(partials);
    addPartials(runtime, { partials, rows, outs });
  });
}

function definesOf({ x, dBias }: Args): Record<string, number> {
  return { ELEMENT_F16: x.dtype === "f16" ? 1 : 0, WITH_BIAS: dBias ? 1 : 0 };
}

function fieldsOf({ x, weight, dout, mean, rstd, dx }: Args, partials: number, slabRows = 0): Uint8Array {
  const [N, C] = x.shape;
  const tensors = [x, weight, dout, mean, rstd, dx].map(pointer);
  return pack([...tensors, pointer(partials), i32(N), i32(C), i32(slabRows)]);
}
