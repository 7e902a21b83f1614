import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { f32, u32 } from "./kernel_arguments.ts";
import { type Packs, packsOf } from "./packs.ts";
import { teams } from "./reduce.ts";
import type { WebgpuRuntime } from "./runtime.ts";

/** See `Ops.normalizeRows`. */
export function normalizeRows(runtime: WebgpuRuntime, { x, epsilon, out }: Parameters<Ops["normalizeRows"]>[0]): void {
  const packs = packsOf([x.shape[3]!], [x, out]);
  const { constants, ...launch } = rowsOf(x, packs, epsilon);
  runtime.launch(
    { file: "normalize_rows", uses: [packs.file, "reduce"], constants },
    { ...launch, reads: { x: packs.of(x) }, writes: { out: packs.of(out) } },
  );
}

/** See `Ops.normalizeRowsBackward`. */
export function normalizeRowsBackward(
  runtime: WebgpuRuntime,
  { x, epsilon, dout, dx }: Parameters<Ops["normalizeRowsBackward"]>[0],
): void {
  const packs = packsOf([x.shape[3]!], [x, dout, dx]);
  const { constants, ...launch } = rowsOf(x, packs, epsilon);
  runtime.launch(
    { file: "normalize_rows_backward", uses: [packs.file, "reduce"], constants },
    { ...launch, reads: { x: packs.of(x), dout: packs.of(dout) }, writes: { dx: packs.of(dx) } },
  );
}

function rowsOf({ shape }: Tensor, { width }: Packs, epsilon: number) {
  const [B, T, H, D] = shape as [number, number, number, number];
  const N = B * T * H;
  const packs = D / width;
  const numbers = { N: u32(N), T: u32(T), H: u32(H), packs: u32(packs), epsilon: f32(epsilon) };
  return { ...teams(N, packs), numbers };
}
