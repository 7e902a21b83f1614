import type { ConformanceCase, Verdict } from "../conformance/index.ts";
import type { Device } from "../device/device.ts";
import { CommandFailure, defineCommand, flag, UsageError } from "./command.ts";
import { deviceFlags, withDevice } from "./options.ts";
import { showProgress } from "./progress.ts";
import { type Terminal, textTable } from "./terminal.ts";

/** One case as it went. */
interface Outcome {
  readonly name: string;
  readonly room: string;
  readonly pass: boolean;
  readonly ms: number;
  /** null where the case did not get as far as comparing. */
  readonly verdict: Verdict | null;
  readonly error: string | null;
}

export const command = defineCommand({
  name: "selftest",
  summary: "check every operation of a device on this machine against exact arithmetic",
  description:
    "Runs each conformance case on the device and on a slow float64 reference with the same inputs. A case passes if its error is at most twice that of straightforward arithmetic in the device's precision, plus a small floor. The worst error is given as a share of what is allowed.",
  flags: {
    ...deviceFlags,
    filter: flag.text("only cases whose name contains this text"),
    json: flag.toggle("print one JSON object with every case"),
  },
  examples: [
    { line: "scfa selftest", says: "everything, on the device that other commands would use" },
    { line: "scfa selftest --device cpu --threads 1 --filter attention", says: "one part of it, on one thread" },
  ],
  async run({ flags, terminal }) {
    const { conformanceCases } = await import("../conformance/index.ts");
    const wanted = flags.filter?.toLowerCase() ?? "";
    const cases = conformanceCases.filter(({ name }) => name.toLowerCase().includes(wanted));
    if (cases.length === 0) {
      const rooms = [...new Set(conformanceCases.map(({ room }) => room))].join(", ");
      throw new UsageError(`no case has "${flags.filter}" in its name. The parts are: ${rooms}.`);
    }
    await withDevice(flags, terminal, async (device) => {
      const outcomes = await runAll(cases, device, terminal);
      const failed = outcomes.filter(({ pass }) => !pass);
      if (flags.json) {
        const summary = { device: device.description, cases: outcomes.length, failed: failed.length, outcomes };
        terminal.out(`${JSON.stringify(summary, null, 2)}\n`);
      } else {
        terminal.out(roomTable(outcomes));
        for (const outcome of failed) terminal.out(failureText(outcome, flags.device));
        terminal.out(
          `\n${outcomes.length - failed.length} of ${outcomes.length} cases pass on ${device.description}.\n`,
        );
      }
      if (failed.length > 0) throw new CommandFailure(`${failed.length} of ${outcomes.length} cases fail.`);
    });
  },
});

async function runAll(cases: readonly ConformanceCase[], device: Device, terminal: Terminal): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const progress = await showProgress(terminal, { total: cases.length, label: "selftest" });
  try {
    for (const conformanceCase of cases) {
      outcomes.push(await runOne(conformanceCase, device));
      progress.update(outcomes.length, [conformanceCase.room]);
    }
  } finally {
    progress.stop();
  }
  return outcomes;
}

async function runOne({ name, room, run }: ConformanceCase, device: Device): Promise<Outcome> {
  const start = performance.now();
  try {
    const verdict = await run(device);
    return { name, room, pass: verdict.pass, ms: performance.now() - start, verdict, error: null };
  } catch (error) {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return { name, room, pass: false, ms: performance.now() - start, verdict: null, error: text };
  }
}

function roomTable(outcomes: readonly Outcome[]): string {
  const rooms = [...new Set(outcomes.map(({ room }) => room))];
  const rows = rooms.map((room) => {
    const own = outcomes.filter((outcome) => outcome.room === room);
    const failed = own.filter(({ pass }) => !pass).length;
    const worst = Math.max(...own.map(({ verdict }) => (verdict ? load(verdict) : Infinity)));
    const ms = own.reduce((sum, outcome) => sum + outcome.ms, 0);
    return [
      room,
      failed === 0 ? "pass" : "FAIL",
      `${own.length - failed}/${own.length}`,
      share(worst),
      `${ms.toFixed(0)} ms`,
    ];
  });
  return textTable(["operation", "result", "cases", "worst error / allowed", "time"], rows, 2);
}

/** The worst error as a share of the budget. */
function load({ worstError, budget }: Verdict): number {
  return worstError === 0 ? 0 : worstError / budget;
}

function share(value: number): string {
  return value === 0 ? "exact" : Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : "-";
}

function failureText({ name, verdict, error }: Outcome, device: string | undefined): string {
  const what =
    verdict === null
      ? error
      : `${verdict.where} is off by ${verdict.worstError.toPrecision(3)}, allowed are ${verdict.budget.toPrecision(3)}`;
  const again = `scfa selftest${device ? ` --device ${device}` : ""} --filter '${name.replaceAll("'", "'\\''")}'`;
  return `\nFAIL ${name}\n     ${what}\n     again: ${again}\n`;
}
