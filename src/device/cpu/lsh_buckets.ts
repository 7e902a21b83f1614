import type { Ops } from "../ops.ts";
import { withHeadStrides } from "./normalize_rows.ts";
import type { CpuRuntime } from "./runtime.ts";

const positionsPerTask = 256;
const block = 32;

/** See `Ops.lshBuckets`. */
export function lshBuckets(runtime: CpuRuntime, { x, rotations, out }: Parameters<Ops["lshBuckets"]>[0]): void {
  const [B, T, H, D] = x.shape;
  const R = rotations.shape[2];
  const columns = Math.ceil(R / 8) * 8;
  runtime.enqueue("lshBuckets", {
    tasks: B * Math.ceil(T / positionsPerTask),
    scratchBytes: (H * columns * (D + 1) + 4 * D + (block + 4) * columns) * 4,
    args: [...withHeadStrides(x), rotations, out, T, H, D, R, positionsPerTask],
  });
}
