import type { PatternPlan, PlannedPart } from "./patterns.ts";

/** Pictures of a plan on canvases: queries down, keys across. Colours come from the page's style sheet. */

/** How far rows and keys have moved from their positions (0) to their places in visit order (1). */
export type Progress = number;

/** What is pointed out. */
export interface Highlight {
  /** A query's position. */
  readonly query: number | null;
  /** Tiles of the part that were visited so far, in order; null: all. */
  readonly tilesShown: number | null;
}

interface Palette {
  readonly ink: string;
  readonly line: string;
  readonly partial: string;
  /** One for each step of a staircase, again and again. */
  readonly steps: readonly [number, number, number][];
}

/** All visible pairs where queries and keys stand in the sequence. */
export function drawPositions(canvas: HTMLCanvasElement, plan: PatternPlan, { query }: Pick<Highlight, "query">): void {
  const context = begin(canvas);
  const colors = paletteOf(canvas);
  drawPairs(context, plan.parts, { colors, T: plan.choice.T, at: 0 });
  if (query !== null) {
    const seen = plan.parts.flatMap((part) => [...keysSeen(part, query)].map(({ key }) => key));
    outlineRow(context, { T: plan.choice.T, row: query, keys: seen, color: colors.ink });
  }
}

/** One part's pairs on the way to visit order; there, with the tiles that a kernel visits. */
export function drawVisits(
  canvas: HTMLCanvasElement,
  plan: PatternPlan,
  { part: index, at, query, tilesShown }: { part: number; at: Progress } & Highlight,
): void {
  const context = begin(canvas);
  const colors = paletteOf(canvas);
  const { T, tile } = plan.choice;
  const part = plan.parts[index]!;
  const tiles = at < 1 ? [] : [...visitedTiles(part, tile)].slice(0, tilesShown ?? Number.POSITIVE_INFINITY);
  const grid = { size: (canvas.width / T) * tile, colors, tiles };
  if (at === 1) drawMaskedTiles(context, grid);
  drawPairs(context, [part], { colors, T, at, firstStep: stepsBefore(plan, index) });
  drawFullTiles(context, grid);
  if (query === null) return;
  const place = part.qRows.indexOf(query);
  const seen = [...keysSeen(part, query)].map(({ key, place }) => blend(key, place, at));
  outlineRow(context, { T, row: blend(query, place, at), keys: seen, color: colors.ink });
}

/** The keys that a query sees in one part. */
export function* keysSeen(
  { qRows, kRows, lo, hi }: PlannedPart,
  query: number,
): Generator<{ key: number; place: number }> {
  const n = qRows.indexOf(query);
  for (let place = lo[n]!; place < hi[n]!; place++) yield { key: kRows[place]!, place };
}

/** A tile that a kernel visits. */
export interface VisitedTile {
  readonly row: number;
  readonly column: number;
  readonly isFull: boolean;
}

/** The tiles of a part that a kernel visits, in its order; the rule is the package's: see its `countTiles`. */
export function* visitedTiles({ lo, hi }: PlannedPart, tile: number): Generator<VisitedTile> {
  const T = lo.length;
  for (let first = 0, row = 0; first < T; first += tile, row++) {
    const last = Math.min(first + tile, T) - 1;
    for (let column = Math.floor(lo[first]! / tile); column * tile < hi[last]!; column++) {
      const isFull = column * tile >= lo[last]! && Math.min((column + 1) * tile, T) <= hi[first]!;
      yield { row, column, isFull };
    }
  }
}

/** The numbers of the steps of a staircase, by place: a step ends where a query sees nothing that the one before saw. */
function stepOfPlaces({ lo, hi }: PlannedPart): Int32Array {
  const steps = new Int32Array(lo.length);
  for (let n = 1; n < lo.length; n++) steps[n] = steps[n - 1]! + (lo[n]! >= hi[n - 1]! && hi[n - 1]! > 0 ? 1 : 0);
  return steps;
}

/** Colours that the parts before use up, so that parts differ. */
function stepsBefore(plan: PatternPlan, index: number): number {
  return plan.parts.slice(0, index).reduce((sum, part) => sum + Math.min(2, (stepOfPlaces(part).at(-1) ?? 0) + 1), 0);
}

interface Scratch {
  readonly scratch: OffscreenCanvas;
  readonly image: ImageData;
  /** The image's, one number a pixel. */
  readonly pixels: Uint32Array;
}

/** A picture of a pixel for each pair, kept for the next frame. */
function scratchFor(T: number): Scratch {
  if (kept?.image.width !== T) {
    const image = new ImageData(T, T);
    kept = { scratch: new OffscreenCanvas(T, T), image, pixels: new Uint32Array(image.data.buffer) };
  }
  return kept;
}
let kept: Scratch | undefined;

function drawPairs(
  context: CanvasRenderingContext2D,
  parts: readonly PlannedPart[],
  { colors, T, at, firstStep = 0 }: { colors: Palette; T: number; at: Progress; firstStep?: number },
): void {
  const { scratch, image, pixels } = scratchFor(T);
  pixels.fill(0);
  const packed = colors.steps.map(([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r);
  let offset = firstStep;
  for (const part of parts) {
    const steps = stepOfPlaces(part);
    for (let n = 0; n < T; n++) {
      const row = Math.round(blend(part.qRows[n]!, n, at)) * T;
      const color = packed[(steps[n]! + offset) % packed.length]!;
      for (let m = part.lo[n]!; m < part.hi[n]!; m++) pixels[row + Math.round(blend(part.kRows[m]!, m, at))] = color;
    }
    offset += Math.min(2, (steps.at(-1) ?? 0) + 1);
  }
  const { width, height } = context.canvas;
  scratch.getContext("2d")!.putImageData(image, 0, 0);
  // Cells of a few pixels have sharp edges; smaller ones are averaged, or some would come out wider than others.
  context.imageSmoothingEnabled = width < T * 3;
  context.imageSmoothingQuality = "high";
  context.drawImage(scratch, 0, 0, width, height);
}

interface TileGrid {
  /** Side of a tile in pixels of the canvas. */
  readonly size: number;
  readonly colors: Palette;
  readonly tiles: readonly VisitedTile[];
}

/** Under the pairs: the grid of tiles, and those that are computed with a mask, so that what the mask throws away shows. */
function drawMaskedTiles(context: CanvasRenderingContext2D, { size, colors, tiles }: TileGrid): void {
  const { width } = context.canvas;
  context.fillStyle = colors.partial;
  for (const { row, column } of tiles) context.fillRect(column * size, row * size, size, size);
  context.strokeStyle = colors.line;
  context.lineWidth = 1;
  context.beginPath();
  for (let line = 1; line * size < width; line++) {
    const at = Math.round(line * size) + 0.5;
    context.moveTo(at, 0);
    context.lineTo(at, width);
    context.moveTo(0, at);
    context.lineTo(width, at);
  }
  context.stroke();
}

/** Over the pairs: a frame in each tile that needs no mask. */
function drawFullTiles(context: CanvasRenderingContext2D, { size, colors, tiles }: TileGrid): void {
  const inset = Math.min(3, size / 5);
  context.strokeStyle = colors.ink;
  context.lineWidth = Math.max(1, Math.min(2, size / 8));
  for (const { row, column, isFull } of tiles) {
    if (isFull) context.strokeRect(column * size + inset, row * size + inset, size - 2 * inset, size - 2 * inset);
  }
}

/** A frame around a query's row, and its keys filled. */
function outlineRow(
  context: CanvasRenderingContext2D,
  { T, row, keys, color }: { T: number; row: number; keys: readonly number[]; color: string },
): void {
  const cell = context.canvas.width / T;
  const height = Math.max(cell, 3);
  const top = (row + 0.5) * cell - height / 2;
  context.fillStyle = color;
  for (const key of keys) context.fillRect(key * cell, top, Math.max(cell, 2), height);
  context.strokeStyle = color;
  context.lineWidth = 1;
  context.strokeRect(0.5, top - 1.5, context.canvas.width - 1, height + 3);
}

/** Fits the canvas to the pixels it covers, and clears it. */
function begin(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const side = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  if (canvas.width !== side || canvas.height !== side) [canvas.width, canvas.height] = [side, side];
  const context = canvas.getContext("2d")!;
  context.clearRect(0, 0, side, side);
  return context;
}

/** The style sheet's colours as they are now; a canvas takes no variables, so its own colour resolves them. */
function paletteOf(canvas: HTMLCanvasElement): Palette {
  const read = (name: string) => {
    canvas.style.color = `var(${name})`;
    return getComputedStyle(canvas).color;
  };
  const steps = Array.from({ length: 8 }, (_, i) => channelsOf(read(`--step${i}`)));
  return { ink: read("--ink"), line: read("--grid"), partial: read("--partial"), steps };
}

/** "rgb(1, 2, 3)" as numbers. */
function channelsOf(color: string): [number, number, number] {
  const [r, g, b] = color.match(/[\d.]+/g)!.map(Number);
  return [r!, g!, b!];
}

function blend(from: number, to: number, at: Progress): number {
  return from + (to - from) * at;
}
