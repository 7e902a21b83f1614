import { type Operand, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 64;
const fewestRowsPerRun = 16;
const mostRuns = 64;

/** out [C] += the sums over the rows of x [N,C]; or, with `normalised`, of x * (y - mean) * rstd. */
export function addColumnSums(
  runtime: WebgpuRuntime,
  sums: { x: Operand; N: number; C: number; out: Operand; normalised?: { y: Operand; mean: Operand; rstd: Operand } },
): void {
  const { x, N, C, out, normalised } = sums;
  const rowsPerRun = Math.max(fewestRowsPerRun, Math.ceil(N / mostRuns));
  const runs = Math.ceil(N / rowsPerRun);
  if (runs <= 1) {
    launch(runtime, { reads: { x, ...normalised }, N, C, out, rowsPerRun, adds: true });
    return;
  }
  runtime.withScratch(runs * C, "f32", (partials) => {
    launch(runtime, { reads: { x, ...normalised }, N, C, out: partials, rowsPerRun, adds: false });
    launch(runtime, { reads: { x: partials }, N: runs, C, out, rowsPerRun: runs, adds: true });
  });
}

interface Pass {
  readonly reads: Record<string, Operand>;
  readonly N: number;
  readonly C: number;
  readonly out: Operand;
  readonly rowsPerRun: number;
  readonly adds: boolean;
}

function launch(runtime: WebgpuRuntime, { reads, N, C, out, rowsPerRun, adds }: Pass): void {
  const groupsPerRun = Math.ceil(C / threads);
  runtime.launch(
    { file: "column_sums", constants: { THREADS: threads, ADDS: adds } },
    {
      groups: groupsPerRun * Math.ceil(N / rowsPerRun),
      reads: { y: null, mean: null, rstd: null, ...reads },
      writes: { out },
      numbers: { N: u32(N), C: u32(C), rowsPerRun: u32(rowsPerRun), groupsPerRun: u32(groupsPerRun) },
    },
  );
}
