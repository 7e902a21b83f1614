import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { DataError } from "../errors.ts";
import { checkSchema, openFile, parseJson, readJson } from "../files/index.ts";
import type { FigureSource } from "./figure.ts";
import { figureSchema } from "./figureSpec.ts";
import type { Line } from "./select.ts";
import { drawTable, tableSchema } from "./table.ts";

/** How the names of figures' specifications end. */
export const figureSuffix = ".figure.json";

/** Whether a path given to a report is lines or a folder of figures; else it is a run. */
export async function holdsFigures(path: string): Promise<boolean> {
  return path.endsWith(".jsonl") || (await specsIn(path)).length > 0;
}

/**
 * Reads the figures of a folder with the lines that they name; or, of a file of lines, the figures that name it in its folder;
 * or the figures of another folder, `specsFolder`, with these lines instead.
 * @throws DataError if a file cannot be read, a specification is not one, a line holds no JSON object, or there is no figure
 */
export async function readFigures(path: string, specsFolder?: string): Promise<FigureSource[]> {
  const isFile = path.endsWith(".jsonl");
  const folder = isFile ? (specsFolder ?? dirname(path)) : path;
  const files = (await specsIn(folder)).map((name) => join(folder, name));
  const figures = await Promise.all(files.map((file) => readFigure(file, isFile ? path : undefined)));
  const wanted = figures.filter(({ spec }) => !isFile || specsFolder || spec.lines.includes(basename(path)));
  if (wanted.length > 0) return wanted;
  const rule =
    isFile && !specsFolder ? `no *${figureSuffix} beside it names it` : `no *${figureSuffix} is in ${folder}`;
  throw new DataError(path, "figures", rule, "Name the folder of the figures with --figures.");
}

/** @param only lines to draw instead of those that the specification names */
async function readFigure(file: string, only: string | undefined): Promise<FigureSource> {
  const spec = await readSpec(file, figureSchema);
  const files = only ? [only] : spec.lines.map((name) => join(dirname(file), name));
  return { name: basename(file, figureSuffix), file, spec, lines: (await Promise.all(files.map(readLines))).flat() };
}

/** Reads a table's specification and its lines, and draws it. */
export async function readTable(file: string): Promise<string> {
  const spec = await readSpec(file, tableSchema);
  const lines = await Promise.all(spec.lines.map((name) => readLines(join(dirname(file), name))));
  return drawTable(file, spec, lines.flat());
}

async function readSpec<S extends z.ZodType>(file: string, schema: S): Promise<z.infer<S>> {
  const source = await openFile(file);
  return readJson(source, schema).finally(() => source.close());
}

const object = z.record(z.string(), z.unknown());

/** The objects of a file of JSON lines; empty lines are left out. */
async function readLines(file: string): Promise<Line[]> {
  const source = await openFile(file);
  const bytes = await source.read(0, source.size).finally(() => source.close());
  return new TextDecoder()
    .decode(bytes)
    .split("\n")
    .flatMap((text, i) => {
      const place = { file, within: `line ${i + 1}` };
      return text.trim() === "" ? [] : [checkSchema(parseJson(text, place), object, place)];
    });
}

/** None where there is no such folder: whoever reads what else it may be says so. */
async function specsIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.endsWith(figureSuffix)).sort();
}
