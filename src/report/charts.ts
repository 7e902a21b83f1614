import type { TopLevelSpec } from "vega-lite";
import type { Run, RunMetric } from "./run.ts";
import { chartConfig, shortNumber, toSvg } from "./vega.ts";

/** One drawing of a chart, as an SVG that takes its colours from the page's CSS variables. */
export interface Chart {
  readonly svg: string;
  readonly widthPx: number;
}

/** A chart in two widths (desktop, phone) and what must be said about it. */
export interface ChartSet {
  readonly wide: Chart;
  readonly narrow: Chart;
  readonly notes: readonly string[];
}

/** CSS colour of the n-th run; the variables --run0 .. --run7 are set by the page for light and dark. */
export function runColor(index: number): string {
  return `var(--run${index % runColors})`;
}
const runColors = 8;

interface Point {
  readonly x: number;
  readonly y: number;
  readonly run: string;
}

interface Lines {
  readonly xTitle: string;
  readonly yTitle: string;
  readonly yFromZero: boolean;
  readonly raw: readonly Point[];
  readonly smooth: readonly Point[];
  /** Measured seldom, drawn as marks. */
  readonly marks: readonly Point[];
  readonly yMax: number | undefined;
  readonly runs: number;
  /** Of the chart on a desktop. */
  readonly widePx: { readonly width: number; readonly height: number };
}

/** Points kept of each line; a chart is at most some 600 pixels wide. */
const maxPoints = 400;

/** Training and validation loss against tokens. */
export function lossAgainstTokens(runs: readonly Run[]): Promise<ChartSet> {
  return lossChart(runs, "tokens", (m) => m.tokens);
}

/** Training and validation loss against the time spent on each run. */
export function lossAgainstTime(runs: readonly Run[]): Promise<ChartSet> {
  const longestMs = Math.max(0, ...runs.map((run) => run.metrics.at(-1)?.elapsedMs ?? 0));
  const { name, ms } = timeUnits.find((unit) => longestMs < unit.upToMs)!;
  return lossChart(runs, `time (${name})`, (m) => (m.elapsedMs === undefined ? undefined : m.elapsedMs / ms));
}

const timeUnits = [
  { name: "seconds", ms: 1000, upToMs: 300_000 },
  { name: "minutes", ms: 60_000, upToMs: 3 * 3_600_000 },
  { name: "hours", ms: 3_600_000, upToMs: Infinity },
];

/** Tokens trained per second, step by step, against tokens. */
export async function speedAgainstTokens(runs: readonly Run[]): Promise<ChartSet> {
  const lines = runs.map((run, i) => points(run.metrics, i, { x: (m) => m.tokens, y: (m) => m.tokensPerS }));
  return drawBoth(
    {
      xTitle: "tokens",
      yTitle: "tokens per second",
      yFromZero: true,
      raw: lines.flatMap(thin),
      smooth: lines.flatMap((line) => thin(smoothed(line))),
      marks: [],
      yMax: undefined,
      runs: runs.length,
      widePx: { width: 1080, height: 260 },
    },
    [],
  );
}

async function lossChart(runs: readonly Run[], xTitle: string, x: Reader): Promise<ChartSet> {
  const raw = runs.map((run, i) => points(run.metrics, i, { x, y: (m) => m.loss }));
  const marks = runs.flatMap((run, i) => points(run.metrics, i, { x, y: (m) => m.valLoss }));
  const top = startOfView([...raw.flat(), ...marks]);
  return drawBoth(
    {
      xTitle,
      yTitle: "loss (nats per token)",
      yFromZero: false,
      raw: raw.flatMap(thin),
      smooth: raw.flatMap((line) => thin(smoothed(line))),
      marks: marks.filter((p) => top === undefined || p.y <= top),
      yMax: top,
      runs: runs.length,
      widePx: { width: 520, height: 300 },
    },
    top === undefined ? [] : [`Steps with losses above ${top.toFixed(1)}, the first above all, lie outside the chart.`],
  );
}

type Reader = (m: RunMetric) => number | undefined;

function points(metrics: readonly RunMetric[], run: number, { x, y }: { x: Reader; y: Reader }): Point[] {
  return metrics.flatMap((m) => {
    const at = x(m);
    const value = y(m);
    return at === undefined || value === undefined ? [] : [{ x: at, y: value, run: String(run) }];
  });
}

/** Keeps a line's shape with fewer points: the lowest and the highest of each stretch. */
function thin(line: readonly Point[]): Point[] {
  if (line.length <= maxPoints) return [...line];
  const stretch = Math.ceil((2 * line.length) / maxPoints);
  const kept: Point[] = [];
  for (let i = 0; i < line.length; i += stretch) {
    const part = line.slice(i, i + stretch);
    const low = part.reduce((a, b) => (b.y < a.y ? b : a));
    const high = part.reduce((a, b) => (b.y > a.y ? b : a));
    kept.push(...(low.x <= high.x ? [low, high] : [high, low]));
  }
  return kept;
}

/** Share of a line's points, around each point, whose mean is drawn bold. */
const smoothingShare = 0.04;

function smoothed(line: readonly Point[]): Point[] {
  const widest = Math.round((line.length * smoothingShare) / 2);
  return line.map((p, i) => {
    // As many before as after, fewer at the ends: a one-sided mean would lag behind a falling loss.
    const half = Math.min(widest, i, line.length - 1 - i);
    const part = line.slice(i - half, i + half + 1);
    return { ...p, y: part.reduce((sum, q) => sum + q.y, 0) / part.length };
  });
}

/** Share of the tokens (or time) whose steep fall may leave the view, so that what follows can be told apart. */
const fallShare = 0.1;
/** Share of the later losses, the highest, that may leave it too: single steps that went astray. */
const strayShare = 0.01;

/** The loss at which the view starts, or undefined if nothing needs to be left out. */
function startOfView(all: readonly Point[]): number | undefined {
  const end = all.reduce((most, p) => Math.max(most, p.x), 0);
  const later = all.filter((p) => p.x > end * fallShare).map((p) => p.y);
  later.sort((a, b) => a - b);
  const low = later[0];
  const view = later[Math.floor((later.length - 1) * (1 - strayShare))];
  const highest = all.reduce((most, p) => Math.max(most, p.y), -Infinity);
  if (low === undefined || view === undefined || view <= low || highest - low <= 1.5 * (view - low)) return undefined;
  return Math.ceil(view * 10) / 10;
}

async function drawBoth(lines: Lines, notes: readonly string[]): Promise<ChartSet> {
  return { wide: await draw(lines, lines.widePx), narrow: await draw(lines, { width: 330, height: 240 }), notes };
}

async function draw(lines: Lines, size: Lines["widePx"]): Promise<Chart> {
  return { svg: await toSvg(chartSpec(lines, size)), widthPx: size.width };
}

function chartSpec(lines: Lines, { width: widthPx, height: heightPx }: Lines["widePx"]): TopLevelSpec {
  const x = {
    field: "x",
    type: "quantitative" as const,
    title: lines.xTitle,
    scale: { nice: false, zero: true },
    axis: { labelExpr: shortNumber, tickCount: widthPx > 400 ? Math.round(widthPx / 90) : 4 },
  };
  // A domain with a given end is not rounded outwards, and marks would lie on the axis.
  const values = [...lines.raw, ...lines.marks].map((p) => p.y);
  const low = values.reduce((least, y) => Math.min(least, y), Infinity);
  const domain = lines.yMax === undefined ? {} : { domainMin: Math.floor(low * 10 - 0.5) / 10, domainMax: lines.yMax };
  const y = {
    field: "y",
    type: "quantitative" as const,
    title: lines.yTitle,
    scale: { zero: lines.yFromZero, ...domain },
    axis: { labelExpr: shortNumber, tickCount: 5 },
  };
  const domainOfRuns = Array.from({ length: lines.runs }, (_, i) => String(i));
  const color = {
    field: "run",
    type: "nominal" as const,
    scale: { domain: domainOfRuns, range: domainOfRuns.map((_, i) => runColor(i)) },
    legend: null,
  };
  const shape = {
    field: "run",
    type: "nominal" as const,
    scale: { domain: domainOfRuns, range: domainOfRuns.map((_, i) => runShape(i)) },
    legend: null,
  };
  const layer = (values: readonly Point[], mark: object, more: object = {}) => ({
    data: { values: values.map((p) => ({ ...p })) },
    mark: { clip: true, aria: false, ...mark },
    encoding: { x, y, color, ...more },
  });
  return {
    width: widthPx,
    height: heightPx,
    autosize: { type: "fit", contains: "padding" },
    padding: 2,
    layer: [
      layer(lines.raw, { type: "line", strokeWidth: 1, opacity: 0.28, strokeJoin: "round" }),
      layer(lines.smooth, { type: "line", strokeWidth: 2.2, strokeJoin: "round" }),
      ...(lines.marks.length > 0
        ? [
            layer(
              lines.marks,
              {
                type: "point",
                clip: false,
                filled: true,
                size: 62,
                stroke: "var(--paper)",
                strokeWidth: 1.4,
                opacity: 1,
              },
              { shape },
            ),
          ]
        : []),
    ],
    config: chartConfig,
  } as TopLevelSpec;
}

/** Mark of the n-th run's validation losses, so that colour is not all that tells runs apart. */
export function runShape(index: number): string {
  return ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"][index % 6]!;
}
