import { parse, View } from "vega";
import { DataError } from "../errors.ts";

/** A line of a file of results. */
export type Line = Record<string, unknown>;

/**
 * Chooses and computes by Vega's transforms, in which `datum` is a line.
 * @param wheres expressions: which of what comes out; undefined for all
 * @returns for each of `wheres` its lines
 * @throws DataError naming the specification's file, where an expression or a transform is wrong
 */
export async function selectLines(
  file: string,
  { lines, transform, wheres }: SelectOptions,
): Promise<readonly (readonly Line[])[]> {
  // A tree of data as Vega has it: the lines, then one set for each condition.
  const values = lines.map((line) => ({ ...line }));
  const data = [
    { name: "lines", values, transform },
    ...wheres.map((where, i) => ({
      name: `chosen ${i}`,
      source: "lines",
      transform: where === undefined ? [] : [{ type: "filter", expr: where }],
    })),
  ];
  try {
    const view = new View(parse({ data } as never), { renderer: "none" });
    try {
      await view.runAsync();
      return wheres.map((_, i) => [...(view.data(`chosen ${i}`) as Line[])]);
    } finally {
      view.finalize();
    }
  } catch (error) {
    throw new DataError(file, "at transform or where", `Vega refuses it: ${(error as Error).message}`);
  }
}

interface SelectOptions {
  readonly lines: readonly Line[];
  readonly transform: readonly object[];
  readonly wheres: readonly (string | undefined)[];
}

/** A line for an error. */
export function excerpt(line: Line): string {
  const text = JSON.stringify(line);
  return text.length <= 200 ? text : `${text.slice(0, 200)}...`;
}
