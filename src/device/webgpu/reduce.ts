const threads = 128;
/** Of a row's threads: so many are in step on most GPUs, and barriers between them cost little. */
const mostLanes = 32;

/**
 * How N rows of `packs` packs each are shared out among threads, where a row is reduced to a number (reduce.wgsl): a team
 * of LANES threads to a row, as many as have a pack each, and THREADS / LANES rows to a workgroup.
 */
export function teams(N: number, packs: number): { groups: number; constants: { THREADS: number; LANES: number } } {
  const LANES = Math.min(mostLanes, 2 ** Math.floor(Math.log2(Math.max(1, packs))));
  return { groups: Math.ceil((N * LANES) / threads), constants: { THREADS: threads, LANES } };
}
