import type { Ops } from "../ops.ts";
import { withHeadStrides } from "./normalize_rows.ts";
import type { CpuRuntime } from "./runtime.ts";

const positionsPerTask = 256;
const block = 32;

type Args = Parameters<Ops["lshBuckets"]>[0];

/** See `Ops.lshBuckets`. */
export function lshBuckets(
  runtime: CpuRuntime,
  { x, rotations, moments, relativeTo, firstPosition = 0, out }: Args,
): void {
  const [B, T, H, D] = x.shape;
  const R = rotations.shape[2];
  const columns = Math.ceil(R / 8) * 8;
  const heads = moments ? 1 : H;
  const base = moments && relativeTo ? relativeTo : x;
  runtime.enqueue(moments ? "lshBucketsBalanced" : "lshBuckets", {
    tasks: moments ? B * H : B * Math.ceil(T / positionsPerTask),
    scratchBytes: (heads * columns * (D + 1) + 4 * D + (2 * block + 4 + 2) * columns) * 4,
    args: [
      ...withHeadStrides(x),
      ...withHeadStrides(base),
      ...[rotations, out, moments ?? null],
      ...[T, H, base.shape[2]!, D, R, positionsPerTask, firstPosition],
    ],
  });
}
