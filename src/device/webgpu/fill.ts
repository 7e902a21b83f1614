import type { DType, Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { bits, f32, floatBits, type NumberField, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/** See `Ops.fill`. */
export function fill(runtime: WebgpuRuntime, { out, value }: Parameters<Ops["fill"]>[0]): void {
  runtime.launch(
    { file: "fill", constants: { THREADS: threads } },
    {
      groups: Math.ceil(out.size / threads),
      writes: { out: bits(out) },
      numbers: { count: u32(out.size), value: written(out, value) },
    },
  );
}

/** What an element of `bits` becomes. */
function written({ dtype }: Tensor<DType>, value: number): NumberField {
  if (dtype === "f16") return f32(value);
  return dtype === "i32" ? u32(value) : floatBits(value);
}
