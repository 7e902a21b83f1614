import type { Ops } from "../ops.ts";
import type { CpuRuntime } from "./runtime.ts";

const perTask = 1 << 14;

/** See `Ops.keepMask`. */
export function keepMask(runtime: CpuRuntime, { key, keep, out }: Parameters<Ops["keepMask"]>[0]): void {
  const threshold = Math.ceil(keep * 2 ** 32);
  runtime.enqueue("keepMask", {
    tasks: Math.ceil(out.size / perTask),
    args: [out, out.size, perTask, key, threshold, threshold === 2 ** 32 ? 1 : 0],
  });
}
