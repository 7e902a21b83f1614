import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import type { CpuRuntime, KernelArg } from "./runtime.ts";

const largestInt = 2 ** 31 - 1;

/** See `Ops.staircase`. */
export function staircase(runtime: CpuRuntime, { rule, out }: Parameters<Ops["staircase"]>[0]): void {
  const { documents, qGroups, kGroups, groupCount, keepMasks, near, far, chunk } = rule;
  const [B, H, Tq] = out.lo.shape;
  const Tk = out.qLo.shape[2];
  const Hk = kGroups?.shape[2] ?? out.kRows?.shape[1] ?? 1;
  runtime.enqueue("staircase", {
    tasks: B * H,
    scratchBytes: 8 * (Tq + Tk) + 4 * Tk + 4 * groupCount,
    args: [
      ...[documents, byteStride(documents, 0)],
      ...[qGroups, byteStride(qGroups, 0), byteStride(qGroups, 1)],
      ...[kGroups, byteStride(kGroups, 0), byteStride(kGroups, 1)],
      ...[H, Hk, Tq, Tk, groupCount, keepMasks ? 1 : 0],
      ...[Math.min(near, largestInt), Math.min(far, largestInt), chunk > Tk ? 0 : chunk],
      ...[out.qRows, out.kRows, out.lo, out.hi, out.qLo, out.qHi],
    ] satisfies KernelArg[],
  });
}

function byteStride(tensor: Tensor<"i32"> | null, axis: number): number {
  return tensor ? tensor.strides[axis] * 4 : 0;
}
