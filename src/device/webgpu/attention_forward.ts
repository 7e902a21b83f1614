import type { Ops } from "../ops.ts";
import { attentionSizes, staircaseTables, tile } from "./attention_args.ts";
import { f32, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

/** See `Ops.attentionForward`. */
export function attentionForward(runtime: WebgpuRuntime, args: Parameters<Ops["attentionForward"]>[0]): void {
  const { q, k, v, staircase, merge = false, o, lse } = args;
  const [B, Tq, H] = q.shape as [number, number, number];
  const { numbers, CHUNKS } = attentionSizes(args);
  const tiles = Math.ceil(Tq / tile);
  runtime.launch(
    { file: "attention_forward", uses: ["attention_tile"], constants: { CHUNKS, MERGES: merge } },
    {
      groups: B * H * tiles,
      reads: { q, k, v, ...staircaseTables(staircase) },
      writes: { o, lse },
      numbers: {
        ...{ ...numbers, heads: u32(B * H), tiles: u32(tiles) },
        minusInfinity: f32(Number.NEGATIVE_INFINITY),
      },
    },
  );
}
