import { z } from "zod";
import { DataError } from "../errors.ts";
import { linesSchema, transformSchema } from "./figureSpec.ts";
import { excerpt, type Line, selectLines } from "./select.ts";

/**
 * `NAME.table.json`: a table for a README, of recorded lines beside it. After the transforms (Vega's, as in a figure) each line
 * is a cell: `row` and `column` say where, `cell` is its text.
 */
export const tableSchema = z.strictObject({
  lines: linesSchema,
  transform: transformSchema,
  /** What stands above the first column. */
  corner: z.string().default(""),
  columns: z.array(z.string()).min(1),
  /** In order; each may be Markdown. */
  rows: z.array(z.string()).min(1),
});

export type TableSpec = z.infer<typeof tableSchema>;

/**
 * A Markdown table of recorded lines; a place without a line is empty.
 * @throws DataError where an expression is wrong, a line belongs nowhere, or two lines belong to one place
 */
export async function drawTable(file: string, spec: TableSpec, lines: readonly Line[]): Promise<string> {
  const { columns, rows, corner } = spec;
  const [cells] = await selectLines(file, { lines, transform: spec.transform, wheres: [undefined] });
  const texts = rows.map(() => columns.map(() => ""));
  for (const line of cells!) {
    const { row, column, cell } = line;
    const [i, j] = [rows.indexOf(row as string), columns.indexOf(column as string)];
    const refuse = (rule: string) => new DataError(file, "in the table", `${rule}: ${excerpt(line)}`);
    if (i < 0 || j < 0) throw refuse("a line belongs to no row and column; filter it out or name them");
    if (typeof cell !== "string" || cell === "") throw refuse("cell must be a text");
    if (texts[i]![j] !== "") throw refuse("two lines belong to one place");
    texts[i]![j] = cell;
  }
  const head = [corner, ...columns];
  const body = rows.map((row, i) => [row, ...texts[i]!]);
  return [head, head.map(() => "---"), ...body].map((parts) => `| ${parts.join(" | ")} |`).join("\n");
}

const marked = /<!-- table (\S+\.table\.json) -->\n[\s\S]*?<!-- end of table -->/g;

/** Makes anew every table between `<!-- table FILE -->` and `<!-- end of table -->`. @param draw of the file that is named */
export async function redrawTables(markdown: string, draw: (file: string) => Promise<string>): Promise<string> {
  const files = [...new Set([...markdown.matchAll(marked)].map(([, file]) => file!))];
  const tables = new Map(await Promise.all(files.map(async (file) => [file, await draw(file)] as const)));
  return markdown.replace(
    marked,
    (_, file: string) => `<!-- table ${file} -->\n${tables.get(file)}\n<!-- end of table -->`,
  );
}
