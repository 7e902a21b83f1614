import { expect, test } from "vitest";
import { drawTable, redrawTables, tableSchema } from "./table.ts";

const lines = [
  { who: "ours", T: 1024, ms: 1.24 },
  { who: "theirs", T: 1024, ms: 3 },
  { who: "ours", T: 2048, ms: 2 },
];
const cell = (expr: string) => [
  { type: "formula", expr: "datum.who", as: "row" },
  { type: "formula", expr: "datum.T / 1024 + 'k'", as: "column" },
  { type: "formula", expr, as: "cell" },
];
const spec = {
  lines: ["x.jsonl"],
  transform: cell("format(datum.ms, '.1f')"),
  columns: ["1k", "2k"],
  rows: ["theirs", "ours"],
};
const draw = (more: object = {}) => drawTable("x.table.json", tableSchema.parse({ ...spec, ...more }), lines);

test("each line stands in its row and column, and a place without one is empty", async () => {
  expect(await draw({ corner: "ms" })).toBe(
    "| ms | 1k | 2k |\n| --- | --- | --- |\n| theirs | 3.0 |  |\n| ours | 1.2 | 2.0 |",
  );
});

test.each([
  [{ rows: ["ours"] }, /a line belongs to no row and column.*"who":"theirs"/],
  [{ columns: ["1k"] }, /a line belongs to no row and column.*"T":2048/],
  [{ transform: cell("datum.ms") }, /cell must be a text/],
  [{ transform: [...cell("'1'"), { type: "formula", expr: "'1k'", as: "column" }] }, /two lines belong to one place/],
])("nothing is lost or written over in silence: %#", async (more, message) => {
  await expect(draw(more)).rejects.toThrow(message);
});

test("tables in Markdown are made anew between their marks, and nothing else is", async () => {
  const text = (table: string) => `a\n<!-- table b/x.table.json -->\n${table}<!-- end of table -->\nc | d\n`;
  const made = await redrawTables(text("| old |\n\n"), async (file) => `made of ${file}`);
  expect(made).toBe(text("made of b/x.table.json\n"));
  expect(await redrawTables("| a |\n| b |", async () => "x")).toBe("| a |\n| b |");
});
