import type { Ops } from "../ops.ts";
import { copy } from "./copy.ts";
import type { WebgpuRuntime } from "./runtime.ts";

/** See `Ops.cast`: kernels load any float type as f32 and store f32 as any. */
export function cast(runtime: WebgpuRuntime, { x, out }: Parameters<Ops["cast"]>[0]): void {
  copy(runtime, { x, out });
}
