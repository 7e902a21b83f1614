import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { withAlignedRows } from "./aligned_rows.ts";
import { attentionForm, attentionGrid, attentionNumbers, staircaseTables } from "./attention_args.ts";
import { f32, quads } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

type Args = Parameters<Ops["attentionForward"]>[0];

/** See `Ops.attentionForward`. */
export function attentionForward(runtime: WebgpuRuntime, args: Args): void {
  const { q, k, v, o } = args;
  withAlignedRows(runtime, { reads: { q, k, v }, writes: { o } }, (aligned) =>
    forward(runtime, { ...args, ...aligned }),
  );
}

function forward(runtime: WebgpuRuntime, args: Args): void {
  const { q, k, v, staircase, merge = false, o, lse } = args;
  const [B, Tq, H] = q.shape as [number, number, number];
  const form = attentionForm(runtime, "attention_forward", q as Tensor);
  const { file, uses, constants } = form.request;
  const { groups, numbers } = attentionGrid(B * H, Tq, form);
  runtime.launch(
    { file, uses: [...uses, "attention_share"], constants: { ...constants, MERGES: merge } },
    {
      groups,
      reads: { q: form.rows(q), k: form.rows(k), v: form.rows(v), ...staircaseTables(staircase) },
      writes: { o: quads(o), lse },
      numbers: { ...attentionNumbers(args), ...numbers, minusInfinity: f32(Number.NEGATIVE_INFINITY) },
    },
  );
}
