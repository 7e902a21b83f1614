import { defineCommand, flag } from "./command.ts";

export const command = defineCommand({
  name: "report",
  summary: "make one HTML page of training runs (losses, speed, attention pictures) and of experiments' figures",
  description:
    "Reads the folders that `scfa train --out` makes (finished or still running) and writes a single file that needs no network. If one of the runs is dense, the others are compared with it.\n\nAn experiment's folder holds lines of measurements (`results.jsonl`) and `NAME.figure.json` files that say what to draw of them. Give the folder, or a file of lines.",
  args: { usage: "<run or experiment...>", least: 1, most: 64 },
  flags: {
    out: flag.text("file to write", { placeholder: "<file>", byDefault: "report.html in the first folder" }),
    title: flag.text("title of the page"),
    svg: flag.toggle("also write each figure as NAME.svg beside its lines"),
    figures: flag.text("folder of the figures to draw of the given files of lines", {
      placeholder: "<folder>",
      byDefault: "where the lines are",
    }),
  },
  examples: [
    { line: "scfa report runs/a", says: "one run" },
    { line: "scfa report runs/dense runs/hash --out compare.html", says: "two runs beside each other" },
    { line: "scfa report experiments/reformer --svg", says: "an experiment's figures, made anew" },
    { line: "scfa report my.jsonl --figures experiments/reformer", says: "its figures, of what you measured" },
  ],
  async run({ args, flags, terminal, commandLine }) {
    const { dirname, join } = await import("node:path");
    const { drawFigure } = await import("../report/figure.ts");
    const { figureSvg } = await import("../report/figureSvg.ts");
    const { holdsFigures, readFigures } = await import("../report/readFigures.ts");
    const { readRun } = await import("../report/readRun.ts");
    const { renderReport } = await import("../report/page.ts");
    const { writeDurably } = await import("../files/index.ts");
    const folderOf = (path: string) => (path.endsWith(".jsonl") ? dirname(path) : path);
    const runs = [];
    const figures = [];
    for (const path of args) {
      if (!(await holdsFigures(path))) {
        runs.push(await readRun(path));
        continue;
      }
      for (const source of await readFigures(path, flags.figures)) {
        const figure = await drawFigure(source);
        figures.push(figure);
        if (!flags.svg) continue;
        const file = join(folderOf(path), `${figure.name}.svg`);
        await writeDurably(file, figureSvg(figure));
        terminal.out(`${file}\n`);
      }
    }
    for (const run of runs) for (const note of run.notes) terminal.err(`${run.name}: ${note}\n`);
    const file = flags.out ?? join(folderOf(args[0]!), "report.html");
    const page = await renderReport(runs, {
      ...(flags.title && { title: flags.title }),
      figures,
      command: commandLine,
    });
    await writeDurably(file, page);
    terminal.out(`${file}\n`);
  },
});
