import type { Ops } from "../ops.ts";
import { f32, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 64;

/** See `Ops.normalizeRows`. */
export function normalizeRows(runtime: WebgpuRuntime, { x, epsilon, out }: Parameters<Ops["normalizeRows"]>[0]): void {
  runtime.launch(
    { file: "normalize_rows", uses: ["reduce"], constants: { THREADS: threads } },
    { ...rowsOf(x.shape, epsilon), reads: { x }, writes: { out } },
  );
}

/** See `Ops.normalizeRowsBackward`. */
export function normalizeRowsBackward(
  runtime: WebgpuRuntime,
  { x, epsilon, dout, dx }: Parameters<Ops["normalizeRowsBackward"]>[0],
): void {
  runtime.launch(
    { file: "normalize_rows_backward", uses: ["reduce"], constants: { THREADS: threads } },
    { ...rowsOf(x.shape, epsilon), reads: { x, dout }, writes: { dx } },
  );
}

function rowsOf(shape: readonly number[], epsilon: number) {
  const [B, T, H, D] = shape as [number, number, number, number];
  const N = B * T * H;
  return { groups: N, numbers: { N: u32(N), T: u32(T), H: u32(H), D: u32(D), epsilon: f32(epsilon) } };
}
