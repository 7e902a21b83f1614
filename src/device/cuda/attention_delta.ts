import type { Ops } from "../ops.ts";
import { withAlignedRows } from "./aligned_rows.ts";
import { attentionFields } from "./attention_args.ts";
import { pack } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const threads = 256;
/** Rows of a block: 8 threads own a row. */
const blockRows = threads / 8;

/** See `Ops.attentionDelta`. */
export function attentionDelta(runtime: CudaRuntime, { o, dout, delta }: Parameters<Ops["attentionDelta"]>[0]): void {
  withAlignedRows(runtime, { o: [o, "read"], dout: [dout, "read"] }, (aligned) => {
    const [B, Tq, H] = o.shape as [number, number, number];
    // Of q, k and v only the shape is looked at.
    const fields = attentionFields({ ...aligned, q: o, k: o, v: o, delta, staircase: null, scale: 1 });
    const defines: Record<string, number> = o.dtype === "f16" ? { ELEMENT_F16: 1 } : {};
    const grid = [Math.ceil((B * Tq * H) / blockRows)] as const;
    runtime.launch({ file: "attention_delta", defines }, { grid, threads, parameters: [pack(fields)] });
  });
}
