import { fill, h, newId, svg } from "./dom.ts";
import { fits, type Scale, type ScaleKind, scaleOf } from "./scale.ts";

/** One line of a chart. */
export interface Series {
  readonly name: string;
  /** A CSS colour. */
  readonly color: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly isDashed?: boolean;
  /** Whether points get a mark: where they are few. */
  readonly hasMarks?: boolean;
  /** Drawn thin, without a key and a say in the axes: what a bold line is the mean of. It is cut off where it leaves them. */
  readonly isFaint?: boolean;
}

export interface Axis extends ScaleKind {
  readonly title: string;
  readonly format: (value: number) => string;
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
/** What a label below the base needs. */
const tickRoomPx = 64;

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
  const box = { left: margin.left, right: widthPx - margin.right, top: margin.top, bottom: heightPx - margin.bottom };
  const drawable = series.map((one) => ({
    ...one,
    points: one.points.filter(([px, py]) => fits(x, px) && fits(y, py)),
  }));
  const points = drawable.flatMap((one) => (one.isFaint ? [] : one.points));
  const across = scaleOf(x, { values: points.map(([value]) => value), from: box.left, to: box.right });
  const down = scaleOf(y, { values: points.map(([, value]) => value), from: box.bottom, to: box.top });
  const clipId = newId("plot");
  const { left, top } = box;
  const plot = svg("rect", { x: left, y: top, width: box.right - left, height: box.bottom - top });
  return svg(
    "svg",
    { viewBox: `0 0 ${widthPx} ${heightPx}`, role: "img", "aria-label": label },
    svg("clipPath", { id: clipId }, plot),
    ...valueAxis(y, down, box),
    ...baseAxis(x, across, box),
    ...drawable.flatMap((one) => lineOf(one, { across, down, clip: `url(#${clipId})` })),
  );
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

function valueAxis({ title, format }: Axis, { ticks, place }: Scale, { left, right }: Box): SVGElement[] {
  const lines = ticks.flatMap((tick) => [
    svg("line", { class: "grid", x1: left, x2: right, y1: place(tick), y2: place(tick) }),
    svg("text", { x: left - 8, y: place(tick) + 4, "text-anchor": "end" }, format(tick)),
  ]);
  return [...lines, svg("text", { class: "title", x: 0, y: 12 }, title)];
}

function baseAxis({ title, format }: Axis, { ticks, place }: Scale, { left, right, bottom }: Box): SVGElement[] {
  const room = Math.max(2, Math.floor((right - left) / tickRoomPx));
  const every = Math.ceil(ticks.length / room);
  const marks = ticks
    .filter((_, i) => i % every === 0)
    .flatMap((tick) => [
      svg("line", { class: "grid", x1: place(tick), x2: place(tick), y1: bottom, y2: bottom + 5 }),
      svg("text", { x: place(tick), y: bottom + 19, "text-anchor": "middle" }, format(tick)),
    ]);
  return [...marks, svg("text", { class: "title", x: right, y: heightPx - 4, "text-anchor": "end" }, title)];
}

function lineOf(
  { points, color, isDashed, hasMarks, isFaint }: Series,
  { across, down, clip }: { across: Scale; down: Scale; clip: string },
): SVGElement[] {
  const placed = points.map(([px, py]) => [across.place(px), down.place(py)] as const);
  const path = placed.map(([px, py], i) => `${i === 0 ? "M" : "L"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
  const name = `line${isDashed ? " dashed" : ""}${isFaint ? " faint" : ""}`;
  const line = svg("path", { class: name, d: path, style: `stroke:${color}`, "clip-path": isFaint && clip });
  const marks = hasMarks ? placed.map(([cx, cy]) => svg("circle", { cx, cy, r: 4, style: `fill:${color}` })) : [];
  return placed.length > 1 ? [line, ...marks] : marks;
}
