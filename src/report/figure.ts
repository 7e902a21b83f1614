import { DataError } from "../errors.ts";
import type { AxisSpec, FigureSpec, PanelSpec } from "./figureSpec.ts";
import { drawPanel, type Panel, type Series } from "./panel.ts";
import { excerpt, type Line, selectLines } from "./select.ts";

/** What is to be drawn, of what. */
export interface FigureSource {
  /** Of its files: NAME.figure.json, NAME.svg. */
  readonly name: string;
  /** The specification's file, for errors. */
  readonly file: string;
  readonly spec: FigureSpec;
  readonly lines: readonly Line[];
}

/** A drawn figure. */
export interface Figure {
  readonly name: string;
  readonly title: string;
  readonly says: string;
  readonly columns: number;
  readonly panels: readonly Panel[];
  /** Machines, devices, dates, commits and commands of the lines, as far as they say them. */
  readonly origin: readonly { readonly term: string; readonly values: readonly string[] }[];
}

/** Of a whole figure: as wide as a column of text, and as a README shows it. */
export const figureWidthPx = 760;
export const gapPx = 20;

/**
 * Draws a figure from lines alone; equal lines give equal bytes.
 * @throws DataError where an expression is wrong, a point is no number, or a line belongs to no series
 */
export async function drawFigure({ name, file, spec, lines }: FigureSource): Promise<Figure> {
  const columns = spec.columns ?? Math.min(2, spec.panels.length);
  const widthPx = (figureWidthPx - (columns - 1) * gapPx) / columns;
  const wheres = spec.panels.map(({ where }) => where);
  const rows = await selectLines(file, { lines, transform: spec.transform, wheres });
  const panels = await Promise.all(
    spec.panels.map((panel, i) => drawPanel(panel, seriesOf(file, spec, panel, rows[i]!), widthPx)),
  );
  return { name, title: spec.title, says: spec.says, columns, panels, origin: originOf(lines) };
}

function seriesOf(file: string, { series }: FigureSpec, panel: PanelSpec, rows: readonly Line[]): Series[] {
  const place = `in panel ${JSON.stringify(panel.title)}`;
  const number = (row: Line, { field, scale, domain }: AxisSpec) => {
    const value = row[field];
    const refuse = (rule: string) =>
      new DataError(file, place, `${field} must be ${rule}, got ${value} in ${excerpt(row)}`);
    if (typeof value !== "number" || !Number.isFinite(value)) throw refuse("a number");
    if (scale !== "linear" && value <= 0) throw refuse("above 0 on a logarithmic scale");
    if (domain && !(value >= domain[0] && value <= domain[1])) throw refuse(`from ${domain.join(" to ")}, its domain`);
    return value;
  };
  const stranger = rows.find((row) => !series.kinds.some(({ is }) => is === row[series.field]));
  if (stranger) {
    const value = JSON.stringify(stranger[series.field]);
    throw new DataError(
      file,
      place,
      `no series is ${series.field} ${value}`,
      "Add it to series.kinds or filter it out.",
    );
  }
  const drawn = series.kinds.flatMap(({ is, label, color, dashed }) => {
    const own = rows.filter((row) => row[series.field] === is);
    const points = own.map((row) => ({ x: number(row, panel.x), y: number(row, panel.y) }));
    points.sort((a, b) => a.x - b.x);
    return points.length === 0 ? [] : [{ label, color: `var(--${color})`, dashed, points }];
  });
  if (drawn.length === 0) throw new DataError(file, place, "there must be a line to draw, found none");
  return drawn;
}

/** What an origin says of a term; nothing where no line does. */
export function valuesOf(origin: Figure["origin"], term: string): readonly string[] {
  return origin.find((fact) => fact.term === term)?.values ?? [];
}

function originOf(lines: readonly Line[]): Figure["origin"] {
  const text = (value: unknown) =>
    typeof value === "string"
      ? value
      : typeof value === "object" && value !== null
        ? (value as Line)["text"]
        : undefined;
  const all = (field: string, read = (value: string) => value) => {
    const values = lines.map((line) => text(line[field])).filter((value) => typeof value === "string");
    return { term: field, values: [...new Set(values.map((value) => read(value as string)))].sort() };
  };
  return [
    all("machine"),
    all("device"),
    all("date", (date) => date.slice(0, 10)),
    all("commit"),
    all("command"),
  ].filter(({ values }) => values.length > 0);
}
