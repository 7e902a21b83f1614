import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { attentionSizes, columnTables, staircaseTables, tile } from "./attention_args.ts";
import { attentionDelta } from "./attention_delta.ts";
import { type Operand, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

type Args = Parameters<Ops["attentionBackward"]>[0];

/** See `Ops.attentionBackward`. */
export function attentionBackward(runtime: WebgpuRuntime, args: Args): void {
  const { q, dout, delta, o } = args;
  if (delta) {
    backward(runtime, args, delta);
    return;
  }
  const [B, Tq, H] = q.shape as [number, number, number];
  runtime.withScratch(B * H * Tq, "f32", (scratch) => {
    const made: Operand = { ...scratch, strides: [H * Tq, Tq, 1] };
    attentionDelta(runtime, { o: o as Tensor, dout, delta: made });
    backward(runtime, args, made);
  });
}

/** The two kernels: dq by tiles of queries, dk and dv by tiles of keys. */
function backward(runtime: WebgpuRuntime, args: Args, delta: Operand): void {
  const { q, k, v, staircase, lse, dout, accumulateQ = false, accumulateKV = false, dq, dk, dv } = args;
  const [B, Tq, H] = q.shape as [number, number, number];
  const [, Tk, Hk] = k.shape as [number, number, number];
  const { numbers, CHUNKS } = attentionSizes(args);
  const uses = ["attention_tile"];
  const reads = { q, k, v, dout, lse, delta };
  const { qRows, kRows, lo, hi } = staircaseTables(staircase);
  const grid = (heads: number, tiles: number) => ({
    groups: heads * tiles,
    numbers: { ...numbers, heads: u32(heads), tiles: u32(tiles) },
  });
  runtime.launch(
    { file: "attention_backward_queries", uses, constants: { CHUNKS, ACCUMULATES: accumulateQ } },
    { ...grid(B * H, Math.ceil(Tq / tile)), reads: { ...reads, qRows, kRows, lo, hi }, writes: { dq } },
  );
  runtime.launch(
    { file: "attention_backward_keys", uses, constants: { CHUNKS, ACCUMULATES: accumulateKV } },
    {
      ...grid(B * Hk, Math.ceil(Tk / tile)),
      reads: { ...reads, qRows, kRows, ...columnTables(staircase) },
      writes: { dk, dv },
    },
  );
}
