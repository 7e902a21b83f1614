import type { HostStaircase } from "../staircase/staircase.ts";
import { visiblePairs } from "../staircase/tiles.ts";

/** How much of a head's attention matrix is visible, cell by cell. */
export interface VisibilityGrid {
  readonly cells: number;
  /** Row-major [cells, cells], query down, key across: visible pairs over all pairs of the cell, 0..1. */
  readonly share: Float32Array;
}

/** Pairs that are walked one by one to fill a grid; beyond it, evenly spaced query rows stand for their neighbours. */
const maxWalkedPairs = 2e7;

/**
 * Visible pairs by position: rows of q down, rows of k across.
 * @param staircases disjoint staircases of one head, over Tq queries and Tk keys
 * @param cells cells on each side
 * @param range first query and key row shown, and how many; all if left out
 */
export function visibilityGrid(
  staircases: readonly HostStaircase[],
  { cells, range }: { cells: number; range?: { first: number; count: number } },
): VisibilityGrid {
  const Tq = staircases[0]?.qRows.length ?? 0;
  const Tk = staircases[0]?.kRows.length ?? 0;
  const q = range ?? { first: 0, count: Tq };
  const k = range ?? { first: 0, count: Tk };
  const share = new Float32Array(cells * cells);
  const stride = range
    ? 1
    : Math.max(1, Math.ceil(staircases.reduce((n, s) => n + visiblePairs(s), 0) / maxWalkedPairs));
  for (const s of staircases) {
    for (let n = 0; n < s.qRows.length; n++) {
      const row = s.qRows[n]! - q.first;
      if (row < 0 || row >= q.count || row % stride !== 0) continue;
      const line = Math.floor((row * cells) / q.count) * cells;
      for (let m = s.lo[n]!; m < s.hi[n]!; m++) {
        const column = s.kRows[m]! - k.first;
        if (column >= 0 && column < k.count) share[line + Math.floor((column * cells) / k.count)]! += 1;
      }
    }
  }
  const rowsIn = cellSizes(q.count, cells, stride);
  const columnsIn = cellSizes(k.count, cells, 1);
  for (let i = 0; i < share.length; i++) {
    const size = rowsIn[Math.floor(i / cells)]! * columnsIn[i % cells]!;
    share[i] = size === 0 ? 0 : share[i]! / size;
  }
  return { cells, share };
}

/** Rows out of 0, stride, 2 stride, ... below `count` that fall into each cell. */
function cellSizes(count: number, cells: number, stride: number): Int32Array {
  const sizes = new Int32Array(cells);
  for (let row = 0; row < count; row += stride) sizes[Math.floor((row * cells) / count)]! += 1;
  return sizes;
}

interface TileRun {
  readonly row: number;
  readonly column: number;
  readonly columns: number;
  readonly full: boolean;
}

/** The tiles that a kernel visits, row by row, neighbours of one kind joined; the counts are those of `countTiles`. */
function* tileRuns({ lo, hi, kRows }: HostStaircase, tile: number): Generator<TileRun> {
  const Tk = kRows.length;
  for (let first = 0, row = 0; first < lo.length; first += tile, row++) {
    const last = Math.min(first + tile, lo.length) - 1;
    if (lo[first]! >= hi[last]!) continue;
    const from = Math.floor(lo[first]! / tile);
    const to = Math.max(from, Math.ceil(hi[last]! / tile));
    const fullTo = hi[first]! >= Tk ? Math.ceil(Tk / tile) : Math.floor(hi[first]! / tile);
    const a = Math.min(Math.max(from, Math.ceil(lo[last]! / tile)), to);
    const b = Math.max(a, Math.min(to, fullTo));
    if (a > from) yield { row, column: from, columns: a - from, full: false };
    if (b > a) yield { row, column: a, columns: b - a, full: true };
    if (to > b) yield { row, column: b, columns: to - b, full: false };
  }
}

/** Shares of visible pairs at which a cell is drawn a step darker. */
export const shadeSteps = [0, 0.02, 0.1, 0.3, 0.7, 0.999] as const;
const shadeOpacity = [0.14, 0.28, 0.45, 0.62, 0.8, 1] as const;

/** Opacity in which a cell of this share is drawn; 0 for a cell without a visible pair. */
export function shade(share: number): number {
  const step = shadeSteps.findLastIndex((least) => share > least);
  return step < 0 ? 0 : shadeOpacity[step]!;
}

/** SVG of a visibility grid, in `currentColor`; `label` must already be escaped. */
export function drawGrid({ cells, share }: VisibilityGrid, label: string): string {
  const paths = new Map<number, string>();
  for (let row = 0; row < cells; row++) {
    for (let column = 0; column < cells; ) {
      const opacity = shade(share[row * cells + column]!);
      let end = column + 1;
      while (end < cells && shade(share[row * cells + end]!) === opacity) end++;
      if (opacity > 0) paths.set(opacity, (paths.get(opacity) ?? "") + box(column, row, end - column, 1));
      column = end;
    }
  }
  const body = [...paths].map(([opacity, d]) => `<path d="${d}" fill="currentColor" fill-opacity="${opacity}"/>`);
  return picture(body.join(""), { width: cells, height: cells, label });
}

/**
 * SVG of a staircase in visit order: tiles skipped (empty), partial (light) and full (dark), and the two bounds as
 * lines; `label` must already be escaped.
 */
export function drawStaircase(s: HostStaircase, { tile, label }: { tile: number; label: string }): string {
  const width = s.kRows.length;
  const height = s.lo.length;
  let partial = "";
  let full = "";
  for (const { row, column, columns, full: isFull } of tileRuns(s, tile)) {
    const right = Math.min((column + columns) * tile, width);
    const bottom = Math.min((row + 1) * tile, height);
    const rect = box(column * tile, row * tile, right - column * tile, bottom - row * tile);
    if (isFull) full += rect;
    else partial += rect;
  }
  const body =
    `<path d="${partial}" fill="currentColor" fill-opacity="0.35"/><path d="${full}" fill="currentColor" fill-opacity="0.85"/>` +
    `<path d="${outline(s.lo)}${outline(s.hi)}" fill="none" stroke="var(--ink)" vector-effect="non-scaling-stroke"/>`;
  return picture(body, { width, height, label });
}

/** Points kept of a bound's line: more cannot be told apart at the size of the picture. */
const maxOutlinePoints = 1024;

function outline(bound: ArrayLike<number>): string {
  const stride = Math.max(1, Math.ceil(bound.length / maxOutlinePoints));
  let d = "";
  for (let n = 0; n < bound.length; n += stride) {
    d += `${n === 0 ? `M${bound[0]} 0` : `H${bound[n]}`}V${Math.min(n + stride, bound.length)}`;
  }
  return d;
}

function box(x: number, y: number, width: number, height: number): string {
  return `M${x} ${y}h${width}v${height}h${-width}z`;
}

/** Coordinates are whole rows and columns, stretched to a square, so that neighbours meet without a seam. */
function picture(body: string, { width, height, label }: { width: number; height: number; label: string }): string {
  return `<svg viewBox="0 0 ${Math.max(1, width)} ${Math.max(1, height)}" preserveAspectRatio="none" role="img" aria-label="${label}" shape-rendering="crispEdges">${body}</svg>`;
}
