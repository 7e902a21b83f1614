import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { withAlignedRows } from "./aligned_rows.ts";
import { attentionForm, attentionGrid, attentionNumbers, columnTables, staircaseTables } from "./attention_args.ts";
import { attentionDelta } from "./attention_delta.ts";
import { attentionStats } from "./attention_stats.ts";
import { type Operand, quads } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

type Args = Parameters<Ops["attentionBackward"]>[0];

/** See `Ops.attentionBackward`. */
export function attentionBackward(runtime: WebgpuRuntime, args: Args): void {
  const { q, k, v, lse, delta, o, dout, dq, dk, dv } = args;
  const [B, Tq, H] = q.shape as [number, number, number];
  const count = B * H * Tq;
  runtime.withScratch(delta ? 2 * count : 3 * count, "f32", (scratch) => {
    const stats: Operand = { ...scratch, strides: [2 * H * Tq, 2 * Tq, 2, 1] };
    const made: Operand = { ...scratch, offset: 2 * count, strides: [H * Tq, Tq, 1] };
    if (!delta) attentionDelta(runtime, { o: o as Tensor, dout, delta: made });
    attentionStats(runtime, { lse, delta: delta ?? made, stats });
    withAlignedRows(runtime, { reads: { q, k, v, dout }, writes: { dq, dk, dv } }, (aligned) => {
      backward(runtime, { ...args, ...aligned }, stats);
    });
  });
}

/** The two kernels: dq by tiles of queries, dk and dv by tiles of keys. */
function backward(runtime: WebgpuRuntime, args: Args, stats: Operand): void {
  const { q, k, v, staircase, dout, accumulateQ = false, accumulateKV = false, dq, dk, dv } = args;
  const [B, Tq, H] = q.shape as [number, number, number];
  const [, Tk, Hk] = k.shape as [number, number, number];
  const launch = (
    kernel: "attention_backward_queries" | "attention_backward_keys",
    { heads, rows, accumulates, tables, writes }: Part,
  ) => {
    const form = attentionForm(runtime, kernel, q as Tensor);
    const { file, uses, constants } = form.request;
    const { groups, numbers } = attentionGrid(heads, rows, form);
    const reads = { q: form.rows(q), k: form.rows(k), v: form.rows(v), dout: form.rows(dout), stats };
    runtime.launch(
      { file, uses, constants: { ...constants, ACCUMULATES: accumulates } },
      { groups, reads: { ...reads, ...tables }, writes, numbers: { ...attentionNumbers(args), ...numbers } },
    );
  };
  launch("attention_backward_queries", {
    ...{ heads: B * H, rows: Tq, accumulates: accumulateQ },
    tables: staircaseTables(staircase),
    writes: { dq: quads(dq) as Operand },
  });
  launch("attention_backward_keys", {
    ...{ heads: B * Hk, rows: Tk, accumulates: accumulateKV },
    tables: columnTables(staircase),
    writes: { dk: quads(dk) as Operand, dv: quads(dv) as Operand },
  });
}

interface Part {
  readonly heads: number;
  readonly rows: number;
  readonly accumulates: boolean;
  readonly tables: Record<string, Operand | null>;
  readonly writes: Record<string, Operand>;
}
