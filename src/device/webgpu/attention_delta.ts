import type { Tensor } from "../../tensor.ts";
import { type Operand, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const rowsPerGroup = 64;

/** See `Ops.attentionDelta`. */
export function attentionDelta(
  runtime: WebgpuRuntime,
  { o, dout, delta }: { o: Tensor; dout: Tensor; delta: Operand },
): void {
  const [B, T, H, D] = o.shape as [number, number, number, number];
  const N = B * T * H;
  runtime.launch(
    { file: "attention_delta" },
    {
      groups: Math.ceil(N / rowsPerGroup),
      reads: { o, dout },
      writes: { delta },
      numbers: { N: u32(N), T: u32(T), H: u32(H), D: u32(D) },
    },
  );
}
