// Makes the tables of Markdown files anew from recorded lines: between `<!-- table FILE.table.json -->` and `<!-- end of table -->`.
// Usage, in a built checkout: node scripts/tables.mjs [README.md ...]
import { readFileSync, writeFileSync } from "node:fs";
import { readTable } from "../dist/report/readFigures.js";
import { redrawTables } from "../dist/report/table.js";

const files = process.argv.slice(2);
for (const file of files.length > 0 ? files : ["README.md"]) {
  writeFileSync(file, await redrawTables(readFileSync(file, "utf8"), readTable));
}
