import type { FloatType } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import type { CpuRuntime } from "./runtime.ts";

const perTask = 1 << 14;
const kinds: Record<FloatType, number> = { f32: 0, f16: 1, bf16: 2 };

/** See `Ops.cast`. */
export function cast(runtime: CpuRuntime, { x, out }: Parameters<Ops["cast"]>[0]): void {
  const args = [x, kinds[x.dtype], out, kinds[out.dtype], x.size, perTask];
  runtime.enqueue("cast", { tasks: Math.ceil(x.size / perTask), args });
}
