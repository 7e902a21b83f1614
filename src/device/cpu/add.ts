import type { Ops } from "../ops.ts";
import type { CpuRuntime } from "./runtime.ts";

const perTask = 1 << 15;

/** See `Ops.add`. */
export function add(runtime: CpuRuntime, { x, y, out }: Parameters<Ops["add"]>[0]): void {
  runtime.enqueue("add", { tasks: Math.ceil(x.size / perTask), args: [x, y, out, x.size, perTask] });
}
