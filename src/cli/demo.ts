import type { Device } from "../device/device.ts";
import type { Run as ReportRun } from "../report/run.ts";
import type { RunSummary } from "../report/summary.ts";
import type { Metric } from "../train/metrics.ts";
import type { Run } from "../train/run.ts";
import { defineCommand, flag, type Invocation } from "./command.ts";
import type { RoundEvent } from "./demoRuns.ts";
import { withInterrupt } from "./interrupt.ts";
import { deviceFlags, withDevice } from "./options.ts";
import { duration, textTable, thousands } from "./terminal.ts";
import type { PreparedData } from "./trainingData.ts";

const demoFlags = {
  ...deviceFlags,
  minutes: flag.number("time for everything", { least: 0.2, most: 10_000, byDefault: "5" }),
  text: flag.text("a text to learn from", { placeholder: "<file>", byDefault: "the novel Moby-Dick" }),
  context: flag.count("tokens of each sequence; shorter for a short text", {
    least: 512,
    most: 65_536,
    kilo: true,
    placeholder: "<T>",
    byDefault: "8k",
  }),
  out: flag.text("folder to make", { placeholder: "<folder>", byDefault: "runs/demo, or the next free number" }),
};

export const command = defineCommand({
  name: "demo",
  summary: "watch three small language models learn from a novel, with dense and with sparse attention",
  description:
    "The models read the same bytes in the same order and take their steps in turns, so that each loss and each speed can be held against the dense model's. The number of steps is chosen to fit the time. At the end: a table, a sample of each model's writing, and report.html.",
  flags: demoFlags,
  examples: [
    { line: "scfa demo", says: "five minutes with a novel" },
    { line: "scfa demo --minutes 2 --text my.txt", says: "two minutes with a text of your own" },
  ],
  async run(invocation) {
    await withDevice(invocation.flags, invocation.terminal, (device) => play(device, invocation));
  },
});

async function play(device: Device, invocation: Invocation<typeof demoFlags>): Promise<void> {
  const { flags, terminal } = invocation;
  const clock = startClock((flags.minutes ?? 5) * 60_000);
  const [demo, { openTrainingData }] = await Promise.all([import("./demoRuns.ts"), import("./trainingData.ts")]);
  const folder = await demo.demoFolder(flags.out);
  const novel = { path: demo.novelPath(), title: "Moby-Dick; or, The Whale" };
  const { path, ...named } = flags.text === undefined ? novel : { path: flags.text };
  const data = await openTrainingData(path, { runFolder: folder, terminal, ...named });
  try {
    const saying = "Stopping after this round; the report is still made.";
    await withInterrupt(terminal, { saying }, async (signal) => {
      const runs = await compete({ demo, device, folder, data, clock, signal }, invocation);
      terminal.err("letting the models write\n");
      await demo.describeRuns(runs, { device, data });
      const file = await finish(folder, runs, invocation);
      terminal.out(`\n${duration(clock.spentMs())} minutes in all. Open the report: ${file}\n`);
    });
  } finally {
    await data.dataset.close();
  }
}

interface Competition {
  readonly demo: typeof import("./demoRuns.ts");
  readonly device: Device;
  readonly folder: string;
  readonly data: PreparedData;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Chooses the number of steps, and trains the models side by side. */
async function compete(
  { demo, device, folder, data, clock, signal }: Competition,
  { flags, terminal, commandLine }: Invocation<typeof demoFlags>,
): Promise<Run[]> {
  const { context, roundMs, steps } = await demo.fitTime(device, {
    data,
    leftMs: clock.trainingLeftMs,
    context: demo.fitContext(data, flags.context ?? demo.contexts.longest),
    say: (text) => terminal.err(`${text}\n`),
  });
  terminal.out(introduction({ context, steps, data: data.description, roundMs }));
  const runs = await demo.createRuns({ folder, context, steps, data });
  const table = new RoundTable(terminal, steps);
  await demo.trainTogether({
    ...{ runs, device, data, commandLine },
    mayGoOn: (done) => !signal.aborted && (clock.hasTimeFor(roundMs) || done < demo.leastSteps),
    onRound: (event) => table.add(event),
  });
  table.end();
  return runs;
}

interface Clock {
  spentMs(): number;
  trainingLeftMs(): number;
  hasTimeFor(ms: number): boolean;
}

function startClock(budgetMs: number): Clock {
  const start = performance.now();
  const spentMs = () => performance.now() - start;
  return {
    spentMs,
    trainingLeftMs: () => budgetMs * trainingShare - spentMs(),
    hasTimeFor: (ms) => spentMs() + ms < budgetMs * latestShare,
  };
}

/** Share of the time that training is planned for; the rest is for samples, the report, and a machine that slows down. */
const trainingShare = 0.85;
/** Share of the time after which no new round is begun, whatever was planned. */
const latestShare = 0.93;

function introduction(facts: { context: number; steps: number; data: string; roundMs: number }): string {
  const { context, steps, data, roundMs } = facts;
  return `
Three models of bytes, 2 layers of 2 heads, learn from ${data}.
Each step reads ${thousands(context)} bytes at once; ${steps} steps of each fit the time (${(roundMs / 1000).toFixed(1)} s for one of each).
dense:        every byte sees every earlier one
hash-16:      a byte sees the earlier ones that fall into the same of 16 hash buckets
window-hash:  half of the heads see the last 256 bytes, half hash

`;
}

/** Prints the losses and speeds side by side, a line for every few steps. */
class RoundTable {
  readonly #every: number;
  #since: RoundEvent[] = [];
  #hasHead = false;

  constructor(
    readonly terminal: Invocation["terminal"],
    readonly steps: number,
  ) {
    this.#every = Math.max(1, Math.round(steps / 24));
  }

  add(event: RoundEvent): void {
    this.#since.push(event);
    if (event.step % this.#every === 0 || event.step === this.steps) this.#print();
  }

  end(): void {
    if (this.#since.length > 0) this.#print();
  }

  /** Means over the steps since the line before. */
  #print(): void {
    if (!this.#hasHead) this.terminal.out(tableHead());
    this.#hasHead = true;
    const last = this.#since.at(-1)!;
    const mean = (member: number, key: "loss" | "stepMs") =>
      this.#since.reduce((sum, { metrics }) => sum + metrics[member]![key], 0) / this.#since.length;
    const denseMs = mean(0, "stepMs");
    const tokens = (metrics: readonly Metric[]) => (metrics[0]!.tokensPerS * metrics[0]!.stepMs) / 1000;
    const cells = last.metrics.map((_, member) => {
      const ms = mean(member, "stepMs");
      const speed = thousands((1000 * tokens(last.metrics)) / ms).padStart(8);
      const ratio = member === 0 ? "" : ` ${`${(denseMs / ms).toFixed(1)}x`.padStart(6)}`;
      return `${mean(member, "loss").toFixed(3).padStart(7)} ${speed}${ratio}`;
    });
    this.terminal.out(`${`${last.step}/${this.steps}`.padStart(9)}  ${cells.join("   ")}\n`);
    this.#since = [];
  }
}

function tableHead(): string {
  const columns = ["dense", "hash-16", "window-hash"].map((name, i) => name.padStart(i === 0 ? 16 : 23));
  const units = columns.map((_, i) => `${"loss".padStart(7)} ${"bytes/s".padStart(8)}${i === 0 ? "" : " faster"}`);
  return `${"".padStart(9)}  ${columns.join("   ")}\n${"step".padStart(9)}  ${units.join("   ")}\n`;
}

/** The table, the samples and the report, all from the files of the runs. */
async function finish(
  folder: string,
  trained: readonly Run[],
  { terminal, commandLine }: Pick<Invocation, "terminal" | "commandLine">,
): Promise<string> {
  const [{ readRun }, { renderReport }, { summarise }, { writeDurably }, { join }] = await Promise.all([
    import("../report/readRun.ts"),
    import("../report/page.ts"),
    import("../report/summary.ts"),
    import("../files/index.ts"),
    import("node:path"),
  ]);
  const runs = await Promise.all(trained.map((run) => readRun(run.folder)));
  const { runs: numbers, sentences } = summarise(runs);
  terminal.out(`\n${resultTable(numbers)}\n`);
  for (const sentence of sentences) terminal.out(`${sentence}\n`);
  for (const run of runs) terminal.out(sampleOf(run));
  const file = join(folder, "report.html");
  const page = await renderReport(runs, { title: "Dense and sparse attention, side by side", command: commandLine });
  await writeDurably(file, page);
  return file;
}

function resultTable(runs: readonly RunSummary[]): string {
  const optional = (value: number | undefined, text: (value: number) => string) =>
    value === undefined ? "-" : text(value);
  const rows = runs.map((run) => [
    run.name,
    run.attention,
    optional(run.trainLoss, (x) => x.toFixed(3)),
    optional(run.valLoss, (x) => x.toFixed(3)),
    optional(run.quality?.value, (x) => x.toFixed(3)),
    optional(run.tokensPerS, thousands),
    optional(run.visibleShare, (x) => `${(100 * x).toFixed(2)} %`),
    optional(run.speedUp, (x) => `${x.toFixed(2)}x`),
  ]);
  const head = [
    "model",
    "attention",
    "training loss",
    "validation loss",
    "bits/byte",
    "bytes/s",
    "visible",
    "speed-up",
  ];
  return textTable(head, rows, 2);
}

function sampleOf({ name, details: { sample } }: ReportRun): string {
  return sample ? `\n${name} writes, after "${oneLine(sample.prompt)}":\n  ${oneLine(sample.text)}\n` : "";
}

/** Text on one line, with what a terminal might take for commands left out. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").replace(/\p{Cc}/gu, "\ufffd");
}
