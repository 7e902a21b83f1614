import type { Tensor } from "../../tensor.ts";
import { type Operand, u32 } from "./kernel_arguments.ts";
import { packsOf } from "./packs.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/** See `Ops.attentionDelta`. */
export function attentionDelta(
  runtime: WebgpuRuntime,
  { o, dout, delta }: { o: Tensor; dout: Tensor; delta: Operand },
): void {
  const [B, T, H, D] = o.shape as [number, number, number, number];
  const N = B * T * H;
  const packs = packsOf([D], [o, dout]);
  runtime.launch(
    { file: "attention_delta", uses: [packs.file], constants: { THREADS: threads } },
    {
      groups: Math.ceil(N / threads),
      reads: { o: packs.of(o), dout: packs.of(dout) },
      writes: { delta },
      numbers: { N: u32(N), T: u32(T), H: u32(H), packs: u32(D / packs.width) },
    },
  );
}
