import type { View } from "vega";
import type { TopLevelSpec } from "vega-lite";
import type { AxisSpec, PanelSpec } from "./figureSpec.ts";
import { chartConfig, shortNumber, toSvg } from "./vega.ts";

/** A line of a panel, with at least one point. */
export interface Series {
  readonly label: string;
  /** A CSS colour. */
  readonly color: string;
  readonly dashed: boolean;
  /** By x, ascending. */
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

/** One pair of axes of a figure as an SVG of its own. */
export interface Panel {
  readonly svg: string;
  readonly widthPx: number;
  readonly heightPx: number;
}

const plotHeightPx = 210;
const space = { left: 46, top: 50, bottom: 44, beforeLabel: 14, afterLabel: 4 };
const label = { fontPx: 12, linePx: 14.5, characterPx: 7 };

/** Draws lines with a mark at each point and their names at their ends. */
export async function drawPanel(panel: PanelSpec, series: readonly Series[], widthPx: number): Promise<Panel> {
  const longest = Math.max(...[...series, ...panel.rules].map(({ label }) => label.length));
  const right = Math.ceil(space.beforeLabel + label.characterPx * longest + space.afterLabel);
  const spec = panelSpec(panel, series, { width: widthPx - space.left - right, right });
  const svg = await toSvg(spec, (view) => view.data("labels", placeLabels(view, panel, series)).run());
  return { svg: tidied(svg), widthPx, heightPx: plotHeightPx + space.top + space.bottom };
}

function panelSpec(panel: PanelSpec, series: readonly Series[], size: { width: number; right: number }): TopLevelSpec {
  const points = series.flatMap(({ points }, i) => points.map((p) => ({ ...p, series: String(i) })));
  const x = encoding(
    panel.x,
    "x",
    points.map((p) => p.x),
  );
  const y = encoding(panel.y, "y", [...points.map((p) => p.y), ...panel.rules.map(({ at }) => at)]);
  const bySeries = (of: (s: Series) => unknown) => ({
    field: "series",
    type: "nominal",
    scale: { domain: series.map((_, i) => String(i)), range: series.map(of) },
    legend: null,
  });
  const color = bySeries((s) => s.color);
  const own = { scale: null, axis: null };
  return {
    width: size.width,
    height: plotHeightPx,
    // What stands where must not depend on how wide a text was guessed to be.
    autosize: "none",
    padding: { left: space.left, right: size.right, top: space.top, bottom: space.bottom },
    datasets: { labels: [] },
    layer: [
      {
        data: { values: panel.rules },
        mark: { type: "rule", color: "var(--muted)", strokeDash: [2, 3] },
        encoding: { y: { ...y, field: "at" } },
      },
      {
        data: { values: points },
        mark: { type: "line", strokeWidth: 2, strokeJoin: "round" },
        encoding: { x, y, color, strokeDash: bySeries((s) => (s.dashed ? [5, 3] : [1, 0])) },
      },
      {
        data: { values: points },
        mark: { type: "point", filled: true, size: 36, stroke: "var(--paper)", strokeWidth: 1, opacity: 1 },
        encoding: { x, y, color },
      },
      heading(panel.title, { px: -34, size: 13.5, weight: 600, color: "var(--ink)" }),
      heading(panel.y.title, { px: -17, size: 12, weight: 400, color: "var(--muted)" }),
      {
        data: { name: "labels" },
        mark: { type: "rule", strokeWidth: 1, opacity: 0.45 },
        encoding: {
          x: { field: "endPx", type: "quantitative", ...own },
          x2: { value: size.width + space.beforeLabel - 3 },
          y: { field: "heightPx", type: "quantitative", ...own },
          y2: { field: "px", ...own },
          color: { field: "color", type: "nominal", scale: null, legend: null },
        },
      },
      {
        data: { name: "labels" },
        mark: { type: "text", align: "left", fontSize: label.fontPx },
        encoding: {
          x: { value: size.width + space.beforeLabel },
          y: { field: "px", type: "quantitative", ...own },
          text: { field: "label" },
          color: { field: "color", type: "nominal", scale: null, legend: null },
        },
      },
    ],
    config: chartConfig,
  } as unknown as TopLevelSpec;
}

/** Words above the plot, in line with the axis's numbers; Vega's own titles move with what is below them. */
function heading(
  text: string,
  { px, size, weight, color }: { px: number; size: number; weight: number; color: string },
) {
  return {
    data: { values: [{ text }] },
    mark: { type: "text", align: "left", baseline: "alphabetic", fontSize: size, fontWeight: weight, color },
    encoding: { text: { field: "text" }, x: { value: 3 - space.left }, y: { value: px } },
  };
}

/** Scale and axis in one direction. A linear y begins at 0 and ends at a round number, a logarithmic one does both round. */
function encoding(axis: AxisSpec, name: "x" | "y", values: readonly number[]) {
  const title = name === "x" ? axis.title : null;
  const ends = extent(values);
  const common = { title, labelExpr: numbers[axis.numbers] };
  if (axis.scale === "linear") {
    const domain = axis.domain ?? (name === "y" ? extent([0, ...ends]) : ends);
    const nice = name === "y" && axis.domain === undefined;
    return {
      field: name,
      type: "quantitative",
      scale: { domain, nice, zero: false },
      axis: { ...common, tickCount: 5 },
    };
  }
  const base = axis.scale === "log2" ? 2 : 10;
  const domain = axis.domain ?? (name === "y" ? roundEnds(ends, base) : ends);
  return {
    field: name,
    type: "quantitative",
    scale: { type: "log", base, domain },
    axis: { ...common, values: roundNumbers(domain, base) },
  };
}

const numbers = {
  short: shortNumber,
  kibi: "datum.value < 1024 ? format(datum.value, '~r') : format(datum.value / 1024, '~r') + 'k'",
  percent: "format(datum.value, '~p')",
  times: "format(datum.value, '~r') + '×'",
};

function extent(values: readonly number[]): [number, number] {
  return [
    values.reduce((least, value) => Math.min(least, value), Infinity),
    values.reduce((most, value) => Math.max(most, value), -Infinity),
  ];
}

/** Powers of the base between two numbers, and of 10 also twice and five times where that is not many. */
function roundNumbers([low, high]: readonly [number, number], base: number): number[] {
  const steps = base === 10 && high / low <= 1000 ? [1, 2, 5] : [1];
  return multiples([low, high], base, steps).filter((tick) => tick >= low && tick <= high);
}

/** The last round number at or below the lower end, and the first at or above the higher. */
function roundEnds([low, high]: readonly [number, number], base: number): [number, number] {
  const all = multiples([low, high], base, base === 10 ? [1, 2, 5] : [1]);
  return [all.findLast((tick) => tick <= low)!, all.find((tick) => tick >= high)!];
}

/** Ascending, somewhat beyond both ends. */
function multiples([low, high]: readonly [number, number], base: number, steps: readonly number[]): number[] {
  const power = (x: number) => Math.log(x) / Math.log(base);
  const [first, last] = [Math.floor(power(low)) - 1, Math.ceil(power(high)) + 1];
  const powers = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  // Negative powers as quotients, so that 0.1 is 0.1.
  return powers.flatMap((e) => steps.map((step) => (e < 0 ? step / base ** -e : step * base ** e)));
}

/** Each name as near to the end of its line as the others allow, and where that end is. */
function placeLabels(view: View, { rules }: PanelSpec, series: readonly Series[]) {
  const [x, y] = ["x", "y"].map((name) => view.scale(name) as (value: number) => number) as [Scale, Scale];
  const ends = [
    ...series.map(({ label, color, points }) => {
      const last = points.at(-1)!;
      return { label, color, endPx: x(last.x) + 5, heightPx: y(last.y) };
    }),
    ...rules.map(({ at, label }) => ({ label, color: "var(--muted)", endPx: view.width(), heightPx: y(at) })),
  ].sort((a, b) => a.heightPx - b.heightPx);
  const places = spread(
    ends.map((end) => end.heightPx),
    label.linePx,
    [0, plotHeightPx],
  );
  return ends.map((end, i) => ({ ...end, px: places[i] }));
}

type Scale = (value: number) => number;

/**
 * Moves ascending places apart until each is `gap` from the next, by the least sum of squares (isotonic regression, by pooling
 * neighbours that violate the order), and into the range.
 */
export function spread(wanted: readonly number[], gap: number, [low, high]: readonly [number, number]): number[] {
  const pools: { sum: number; size: number }[] = [];
  wanted.forEach((place, i) => {
    let pool = { sum: place - i * gap, size: 1 };
    for (let last = pools.at(-1); last && last.sum / last.size >= pool.sum / pool.size; last = pools.at(-1)) {
      pool = { sum: last.sum + pool.sum, size: last.size + pool.size };
      pools.pop();
    }
    pools.push(pool);
  });
  const most = Math.max(low, high - (wanted.length - 1) * gap);
  const starts = pools.flatMap(({ sum, size }) => Array<number>(size).fill(Math.min(most, Math.max(low, sum / size))));
  return starts.map((start, i) => start + i * gap);
}

/**
 * Hundredths of a pixel are enough, and what is left is the same on every machine. The figure has its title and what it says: a
 * reader that speaks has no use for each tick.
 */
function tidied(svg: string): string {
  return svg
    .replace("<svg ", '<svg overflow="visible" ')
    .replace(/ (aria-[a-z]+|role|class|pointer-events)="[^"]*"/g, "")
    .replace(/ (d|transform|x|y|x1|y1|x2|y2|width|height)="[^"]*"/g, (attribute) =>
      attribute.replace(/-?\d+\.\d+(e-?\d+)?/g, (number) => String(Math.round(Number(number) * 100) / 100)),
    );
}
