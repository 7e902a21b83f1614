import type { Ops } from "../ops.ts";
import { withHeadStrides } from "./normalize_rows.ts";
import type { CpuRuntime } from "./runtime.ts";

const positionsPerTask = 64;
const scratchBytesPerFeature = 20;

/** See `Ops.rope`. */
export function rope(runtime: CpuRuntime, { x, base, firstPosition, inverse, out }: Parameters<Ops["rope"]>[0]): void {
  const [B, T, H, D] = x.shape;
  runtime.enqueue("rope", {
    tasks: Math.ceil(T / positionsPerTask),
    scratchBytes: D * scratchBytesPerFeature,
    args: [
      ...new Int32Array(Float64Array.of(base).buffer),
      ...[B, T, H, D, positionsPerTask, firstPosition, inverse ? 1 : 0],
      ...withHeadStrides(x),
      ...withHeadStrides(out),
    ],
  });
}
