import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { type Operand, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

/** Also the rows of a tile. */
const threads = 64;
const constants = { THREADS: threads };
const uses = ["lsh_buckets_project"];

type Args = Parameters<Ops["lshBuckets"]>[0];

/** See `Ops.lshBuckets`. */
export function lshBuckets(runtime: WebgpuRuntime, args: Args): void {
  const { x, rotations, moments, relativeTo, firstPosition = 0, out } = args;
  const [B, T, H, D] = x.shape as [number, number, number, number];
  const half = rotations.shape[2]!;
  const tiles = Math.ceil(T / threads);
  const groups = B * H * tiles;
  if (groups === 0) return;
  const numbers = { B: u32(B), T: u32(T), H: u32(H), D: u32(D), half: u32(half), tiles: u32(tiles) };
  const first = u32(firstPosition);
  const hash = ({ records, base }: { records: Operand | null; base: Tensor }) =>
    runtime.launch(
      { file: "lsh_buckets", uses, constants: { ...constants, RELATIVE: base === x ? 0 : 1 } },
      {
        ...{ groups, reads: { x, base, rotations, records }, writes: { out } },
        numbers: { ...numbers, baseHeads: u32(base.shape[2]!), firstPosition: first },
      },
    );
  if (!moments) {
    hash({ records: null, base: x });
    return;
  }
  const base = relativeTo ?? x;
  runtime.withScratch(2 * groups * half, "f32", (records) => {
    runtime.launch(
      { file: "lsh_buckets_moments", uses, constants },
      {
        ...{ groups, reads: { x: base, rotations }, writes: { records } },
        numbers: { ...numbers, xHeads: u32(base.shape[2]!) },
      },
    );
    const count = B * H * half;
    runtime.launch(
      { file: "lsh_buckets_merge", constants },
      {
        groups: Math.ceil(count / threads),
        writes: { records, moments },
        numbers: {
          ...{ count: u32(count), T: u32(T), half: u32(half), tiles: u32(tiles) },
          ...{ tileRows: u32(threads), firstPosition: first },
        },
      },
    );
    hash({ records, base });
  });
}
