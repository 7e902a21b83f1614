import { UnsupportedError } from "../../errors.ts";
import type { Ops } from "../ops.ts";
import { copy } from "./copy.ts";
import type { WebgpuRuntime } from "./runtime.ts";

/** See `Ops.cast`; f32 alone, so nothing is rounded. */
export function cast(runtime: WebgpuRuntime, { x, out }: Parameters<Ops["cast"]>[0]): void {
  if (x.dtype !== "f32" || out.dtype !== "f32") {
    throw new UnsupportedError("cast", "this device has one float type, f32", `${x.dtype} to ${out.dtype}`);
  }
  copy(runtime, { x, out });
}
