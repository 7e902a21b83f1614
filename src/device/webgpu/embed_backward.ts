import type { Ops } from "../ops.ts";
import { u32 } from "./kernel_arguments.ts";
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
  const constants = { THREADS: threads };
  runtime.withScratch(N, "i32", (next) =>
    runtime.withScratch(N, "i32", (isFirst) => {
      runtime.launch(
        { file: "link_tokens", constants },
        { groups: Math.ceil(N / threads), reads: { tokens }, writes: { next, isFirst }, numbers: { N: u32(N) } },
      );
      runtime.launch(
        { file: "embed_backward", constants },
        {
          groups: Math.ceil((N * C) / threads),
          reads: { tokens, next, isFirst, dout },
          writes: { dTokenTable },
          numbers: { count: u32(N * C), C: u32(C), V: u32(V) },
        },
      );
    }),
  );
  if (!dPositionTable) return;
  runtime.launch(
    { file: "embed_positions_backward", constants },
    {
      groups: Math.ceil((T * C) / threads),
      reads: { tokens, dout },
      writes: { dPositionTable },
      numbers: { count: u32(T * C), B: u32(B), C: u32(C), T: u32(T), V: u32(V) },
    },
  );
}
