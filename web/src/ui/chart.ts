import { type Child, fill, h, svg } from "./dom.ts";

/** One line of a chart. */
export interface Series {
  readonly name: string;
  /** A CSS colour. */
  readonly color: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly isDashed?: boolean;
  /** Whether points get a mark: where they are few. */
  readonly hasMarks?: boolean;
  /** Drawn thin and left out of the key: what a bold line is the mean of. */
  readonly isFaint?: boolean;
}

export interface Axis {
  readonly title: string;
  readonly isLog: boolean;
  readonly format: (value: number) => string;
  /** Base of a logarithmic axis's ticks; default 10. */
  readonly base?: number;
}

export interface ChartContent {
  /** What the chart shows, for who cannot see it. */
  readonly label: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
}

const margin = { top: 26, right: 14, bottom: 42, left: 56 };
const heightPx = 320;

/** A line chart as SVG, redrawn at the width that it has. */
export class Chart {
  readonly element: HTMLElement;
  readonly #drawing = h("div", {});
  readonly #keys = h("ul", { class: "keys" });
  #content: ChartContent | null = null;

  constructor() {
    this.element = h("div", { class: "chart" }, this.#keys, this.#drawing);
    new ResizeObserver(() => this.#draw()).observe(this.#drawing);
  }

  show(content: ChartContent): void {
    this.#content = content;
    fill(this.#keys, ...content.series.filter(({ isFaint }) => !isFaint).map((one) => h("li", {}, key(one), one.name)));
    this.#draw();
  }

  #draw(): void {
    const widthPx = this.#drawing.clientWidth;
    if (this.#content && widthPx > 0) fill(this.#drawing, draw(this.#content, widthPx));
  }
}

function key({ color, isDashed, hasMarks }: Series): SVGElement {
  return svg(
    "svg",
    { viewBox: "0 0 26 10", "aria-hidden": "true" },
    svg("line", { class: isDashed ? "line dashed" : "line", x1: 1, x2: 25, y1: 5, y2: 5, style: `stroke:${color}` }),
    hasMarks && svg("circle", { cx: 13, cy: 5, r: 3.5, style: `fill:${color}` }),
  );
}

function draw({ label, x, y, series }: ChartContent, widthPx: number): SVGElement {
  const points = series.flatMap((one) => one.points).filter(([px, py]) => fits(x, px) && fits(y, py));
  const across = scaleOf(
    x,
    points.map(([value]) => value),
    [margin.left, widthPx - margin.right],
  );
  const down = scaleOf(
    y,
    points.map(([, value]) => value),
    [heightPx - margin.bottom, margin.top],
  );
  const children: Child[] = [];
  for (const tick of down.ticks) {
    const at = down.place(tick);
    children.push(svg("line", { class: "grid", x1: margin.left, x2: widthPx - margin.right, y1: at, y2: at }));
    children.push(svg("text", { x: margin.left - 8, y: at + 4, "text-anchor": "end" }, y.format(tick)));
  }
  const room = Math.max(2, Math.floor((widthPx - margin.left - margin.right) / 64));
  const every = Math.ceil(across.ticks.length / room);
  for (const [i, tick] of across.ticks.entries()) {
    if (i % every !== 0) continue;
    const at = across.place(tick);
    children.push(
      svg("line", { class: "grid", x1: at, x2: at, y1: heightPx - margin.bottom, y2: heightPx - margin.bottom + 5 }),
    );
    children.push(svg("text", { x: at, y: heightPx - margin.bottom + 19, "text-anchor": "middle" }, x.format(tick)));
  }
  children.push(svg("text", { class: "title", x: 0, y: 12 }, y.title));
  children.push(
    svg("text", { class: "title", x: widthPx - margin.right, y: heightPx - 4, "text-anchor": "end" }, x.title),
  );
  for (const { color, points, isDashed, hasMarks, isFaint } of series) {
    const placed = points
      .filter(([px, py]) => fits(x, px) && fits(y, py))
      .map(([px, py]) => [across.place(px), down.place(py)] as const);
    const path = placed.map(([px, py], i) => `${i === 0 ? "M" : "L"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
    const name = `line${isDashed ? " dashed" : ""}${isFaint ? " faint" : ""}`;
    if (placed.length > 1) children.push(svg("path", { class: name, d: path, style: `stroke:${color}` }));
    if (!hasMarks) continue;
    for (const [cx, cy] of placed) children.push(svg("circle", { cx, cy, r: 4, style: `fill:${color}` }));
  }
  return svg("svg", { viewBox: `0 0 ${widthPx} ${heightPx}`, role: "img", "aria-label": label }, ...children);
}

interface Scale {
  readonly ticks: readonly number[];
  place(value: number): number;
}

function scaleOf(axis: Axis, values: readonly number[], [from, to]: readonly [number, number]): Scale {
  const { low, high, ticks } = axis.isLog ? logTicks(axis.base ?? 10, values) : linearTicks(values);
  const along = (value: number) =>
    axis.isLog ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  return { ticks, place: (value) => from + (to - from) * along(value) };
}

function logTicks(base: number, values: readonly number[]) {
  if (values.length === 0) return { low: 1, high: base, ticks: [1, base] };
  const [first, last] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))].map((v) => v / Math.log(base));
  const low = Math.floor(first! + 1e-9);
  const high = Math.max(low + 1, Math.ceil(last! - 1e-9));
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => base ** (low + i));
  return { low: base ** low, high: base ** high, ticks };
}

/** From the least to the largest, widened to ticks at 1, 2 or 5 times a power of ten. */
function linearTicks(values: readonly number[]) {
  if (values.length === 0) return { low: 0, high: 1, ticks: [0, 1] };
  const least = Math.min(...values);
  const largest = Math.max(...values);
  const rough = (largest - least || Math.abs(largest) || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((candidate) => candidate >= rough)!;
  const [low, high] = [Math.floor(least / step), Math.max(Math.ceil(largest / step), Math.floor(least / step) + 1)];
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => (low + i) * step);
  return { low: low * step, high: high * step, ticks };
}

function fits({ isLog }: Axis, value: number): boolean {
  return Number.isFinite(value) && (!isLog || value > 0);
}
