import type { Ops } from "../ops.ts";
import { u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 64;

/** See `Ops.lshBuckets`. */
export function lshBuckets(runtime: WebgpuRuntime, { x, rotations, out }: Parameters<Ops["lshBuckets"]>[0]): void {
  const [B, T, H, D] = x.shape as [number, number, number, number];
  const tiles = Math.ceil(T / threads);
  runtime.launch(
    { file: "lsh_buckets", constants: { THREADS: threads } },
    {
      groups: B * H * tiles,
      reads: { x, rotations },
      writes: { out },
      numbers: { B: u32(B), T: u32(T), H: u32(H), D: u32(D), half: u32(rotations.shape[2]!), tiles: u32(tiles) },
    },
  );
}
