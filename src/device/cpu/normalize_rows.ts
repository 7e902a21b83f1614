import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { type CpuRuntime, f32, type KernelArg } from "./runtime.ts";

const floatsPerTask = 1 << 14;

/** See `Ops.normalizeRows`. */
export function normalizeRows(runtime: CpuRuntime, { x, epsilon, out }: Parameters<Ops["normalizeRows"]>[0]): void {
  enqueue(runtime, "normalizeRows", epsilon, [x, out]);
}

/** See `Ops.normalizeRowsBackward`. */
export function normalizeRowsBackward(
  runtime: CpuRuntime,
  { x, epsilon, dout, dx }: Parameters<Ops["normalizeRowsBackward"]>[0],
): void {
  enqueue(runtime, "normalizeRowsBackward", epsilon, [x, dout, dx]);
}

function enqueue(runtime: CpuRuntime, kernel: string, epsilon: number, tensors: Tensor[]): void {
  const [B, T, H, D] = tensors[0].shape;
  const positionsPerTask = Math.max(1, Math.floor(floatsPerTask / (H * D)));
  const args: KernelArg[] = [B, T, H, D, positionsPerTask, f32(epsilon), ...tensors.flatMap(withHeadStrides)];
  runtime.enqueue(kernel, { tasks: Math.ceil((B * T) / positionsPerTask), args });
}

/** A [B, T, H, D] tensor and the bytes between its neighbours along B, T and H. */
export function withHeadStrides(tensor: Tensor): KernelArg[] {
  return [tensor, ...tensor.strides.slice(0, 3).map((stride) => stride * 4)];
}
