import type { Ops } from "../ops.ts";
import { perQueryArgs, rowArgs } from "./attention_args.ts";
import type { CpuRuntime } from "./runtime.ts";

const floatsPerTask = 1 << 15;

/** See `Ops.attentionDelta`. */
export function attentionDelta(runtime: CpuRuntime, { o, dout, delta }: Parameters<Ops["attentionDelta"]>[0]): void {
  const [batch, queries, heads, dims] = o.shape as [number, number, number, number];
  const rowsPerTask = Math.max(1, Math.floor(floatsPerTask / (heads * dims)));
  runtime.enqueue("attentionDelta", {
    tasks: batch * Math.ceil(queries / rowsPerTask),
    args: [...rowArgs(o), ...rowArgs(dout), ...perQueryArgs(delta), queries, heads, dims, rowsPerTask],
  });
}
