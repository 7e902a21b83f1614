import { type Operand, u32 } from "./kernel_arguments.ts";
import { packsOf } from "./packs.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 64;
/** A thread reads them one after the other: few, so that there are many threads. */
const rowsPerRun = 32;

interface Sums {
  /** [N,C] */
  readonly x: Operand;
  readonly N: number;
  readonly C: number;
  /** f32 [C] */
  readonly out: Operand;
  readonly normalised?: { readonly y: Operand; readonly mean: Operand; readonly rstd: Operand };
}

/** out += the sums over the rows of x; or, with `normalised`, of x * (y - mean) * rstd. Runs of rows, then runs of runs. */
export function addColumnSums(runtime: WebgpuRuntime, sums: Sums): void {
  const runs = Math.ceil(sums.N / rowsPerRun);
  if (runs <= 1) {
    launch(runtime, sums, true);
    return;
  }
  runtime.withScratch(runs * sums.C, "f32", (partials) => {
    launch(runtime, { ...sums, out: partials }, false);
    addColumnSums(runtime, { x: partials, N: runs, C: sums.C, out: sums.out });
  });
}

function launch(runtime: WebgpuRuntime, { x, N, C, out, normalised }: Sums, adds: boolean): void {
  const { y, mean, rstd } = normalised ?? { y: null, mean: null, rstd: null };
  const packs = packsOf([C], [x, y, out]);
  const packsPerRow = C / packs.width;
  const groupsPerRun = Math.ceil(packsPerRow / threads);
  runtime.launch(
    { file: "column_sums", uses: [packs.file], constants: { THREADS: threads, ADDS: adds } },
    {
      groups: groupsPerRun * Math.ceil(N / rowsPerRun),
      reads: { x: packs.of(x), y: packs.of(y), mean, rstd },
      writes: { out: packs.of(out) },
      numbers: {
        ...{ N: u32(N), packs: u32(packsPerRow) },
        ...{ rowsPerRun: u32(rowsPerRun), groupsPerRun: u32(groupsPerRun) },
      },
    },
  );
}
