import { Error as ErrorLevel, parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";

/**
 * Draws a chart without a DOM, as an SVG that takes its colours from the page's CSS variables.
 * @param settle is given the chart once its scales are known, and may change its named data
 */
export async function toSvg(spec: TopLevelSpec, settle?: (view: View) => void): Promise<string> {
  const view = new View(parse(compile(spec).spec), { renderer: "none", logLevel: ErrorLevel });
  try {
    await view.runAsync();
    settle?.(view);
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

/** 0, 2.5, 100k, 1.2M */
export const shortNumber = "format(datum.value, abs(datum.value) < 1000 ? '~r' : '~s')";

export const chartConfig = {
  background: "transparent",
  font: "system-ui, -apple-system, Segoe UI, Roboto, sans-serif",
  view: { stroke: null },
  axis: {
    labelColor: "var(--muted)",
    titleColor: "var(--muted)",
    titleFontWeight: "normal",
    titleFontSize: 12,
    labelFontSize: 12,
    titlePadding: 8,
    labelPadding: 5,
    gridColor: "var(--line)",
    domainColor: "var(--line)",
    tickColor: "var(--line)",
    ticks: false,
    domain: false,
    labelOverlap: true,
  },
  axisX: { labelFlush: false, grid: false, domain: true, ticks: true, tickSize: 4 },
} as const;
