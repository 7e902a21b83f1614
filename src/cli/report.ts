import { defineCommand, flag } from "./command.ts";

export const command = defineCommand({
  name: "report",
  summary: "make one HTML page of training runs: losses, speed, attention pictures, samples",
  description:
    "Reads the folders that `scfa train --out` makes (finished or still running) and writes a single file that needs no network. If one of the runs is dense, the others are compared with it.",
  args: { usage: "<run...>", least: 1, most: 64 },
  flags: {
    out: flag.text("file to write", { placeholder: "<file>", byDefault: "report.html in the first run's folder" }),
    title: flag.text("title of the page"),
  },
  examples: [
    { line: "scfa report runs/a", says: "one run" },
    { line: "scfa report runs/dense runs/hash --out compare.html", says: "two runs beside each other" },
  ],
  async run({ args, flags, terminal, commandLine }) {
    const { join } = await import("node:path");
    const { readRun } = await import("../report/readRun.ts");
    const { renderReport } = await import("../report/page.ts");
    const { writeDurably } = await import("../files/index.ts");
    const runs = await Promise.all(args.map(readRun));
    for (const run of runs) for (const note of run.notes) terminal.err(`${run.name}: ${note}\n`);
    const file = flags.out ?? join(args[0]!, "report.html");
    const page = await renderReport(runs, { ...(flags.title && { title: flags.title }), command: commandLine });
    await writeDurably(file, page);
    terminal.out(`${file}\n`);
  },
});
