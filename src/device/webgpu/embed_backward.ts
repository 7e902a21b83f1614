import type { Ops } from "../ops.ts";
import { u32 } from "./kernel_arguments.ts";
import { packsOf } from "./packs.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;

/** See `Ops.embedBackward`. */
export function embedBackward(
  runtime: WebgpuRuntime,
  { tokens, dout, dTokenTable, dPositionTable }: Parameters<Ops["embedBackward"]>[0],
): void {
  const [V, C] = dTokenTable.shape as [number, number];
  const [B, T] = tokens.shape as [number, number];
  const N = B * T;
  if (N === 0 || C === 0) return;
  const packs = packsOf([C], [dout, dTokenTable, dPositionTable]);
  const perRow = C / packs.width;
  const constants = { THREADS: threads };
  runtime.withScratch(N, "i32", (next) =>
    runtime.withScratch(N, "i32", (isFirst) => {
      runtime.launch(
        { file: "link_tokens", constants },
        { groups: Math.ceil(N / threads), reads: { tokens }, writes: { next, isFirst }, numbers: { N: u32(N) } },
      );
      runtime.launch(
        { file: "embed_backward", uses: [packs.file], constants },
        {
          groups: Math.ceil((N * perRow) / threads),
          reads: { tokens, next, isFirst, dout: packs.of(dout) },
          writes: { dTokenTable: packs.of(dTokenTable) },
          numbers: { count: u32(N * perRow), packs: u32(perRow), V: u32(V) },
        },
      );
    }),
  );
  if (!dPositionTable) return;
  runtime.launch(
    { file: "embed_positions_backward", uses: [packs.file], constants },
    {
      groups: Math.ceil((T * perRow) / threads),
      reads: { tokens, dout: packs.of(dout) },
      writes: { dPositionTable: packs.of(dPositionTable) },
      numbers: { count: u32(T * perRow), packs: u32(perRow), B: u32(B), T: u32(T), V: u32(V) },
    },
  );
}
