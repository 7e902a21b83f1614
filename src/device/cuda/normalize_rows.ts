import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { f32, i32, pack, view } from "./kernel_arguments.ts";
import { takesWideViews } from "./row_geometry.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
const threadsPerRow = 8;
/** Elements that the threads of a row hold in one chunk each. */
const chunkElements = 64;
const maxChunks = 4;

/** See `Ops.normalizeRows`. */
export function normalizeRows(runtime: CudaRuntime, { x, epsilon, out }: Parameters<Ops["normalizeRows"]>[0]): void {
  launchRows(runtime, "normalize_rows", { tensors: [x, out], views: [x, out, null, null], epsilon });
}

/** See `Ops.normalizeRowsBackward`. */
export function normalizeRowsBackward(
  runtime: CudaRuntime,
  { x, epsilon, dout, dx }: Parameters<Ops["normalizeRowsBackward"]>[0],
): void {
  launchRows(runtime, "normalize_rows_backward", { tensors: [x, dout, dx], views: [x, null, dout, dx], epsilon });
}

interface Rows {
  readonly tensors: readonly [Tensor, ...Tensor[]];
  /** x, out, dout, dx of `NormalizeRowsArgs`. */
  readonly views: readonly (Tensor | null)[];
  readonly epsilon: number;
}

function launchRows(runtime: CudaRuntime, file: string, { tensors, views, epsilon }: Rows): void {
  const { shape, dtype } = tensors[0];
  const [B, T, H, D] = shape as [number, number, number, number];
  const CHUNKS = Math.max(1, Math.ceil(D / chunkElements));
  const isWide = CHUNKS <= maxChunks && takesWideViews(...tensors);
  const defines = { ELEMENT_F16: dtype === "f16" ? 1 : 0, ...(isWide && { CHUNKS }) };
  const fields = [...views.flatMap(view), ...shape.map(i32), f32(epsilon)];
  runtime.launch(
    { file, entry: isWide ? file : `${file}_any`, defines },
    { grid: [Math.ceil((B * T * H * threadsPerRow) / threads)], threads, parameters: [pack(fields)] },
  );
}
