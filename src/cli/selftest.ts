import type { ConformanceCase, Verdict } from "../conformance/index.ts";
import type { Device } from "../device/device.ts";
import type { FloatType } from "../tensor.ts";
import { CommandFailure, defineCommand, type FlagValues, flag, UsageError } from "./command.ts";
import { deviceFlags, withDevice } from "./options.ts";
import { showProgress } from "./progress.ts";
import { type Terminal, textTable } from "./terminal.ts";

/** One case as it went. */
interface Outcome {
  readonly name: string;
  readonly room: string;
  /** Flags that run it again. */
  readonly repeat: readonly string[];
  readonly pass: boolean;
  readonly ms: number;
  /** null where the case did not get as far as comparing. */
  readonly verdict: Verdict | null;
  readonly error: string | null;
}

const flags = {
  ...deviceFlags,
  filter: flag.text("only cases whose name contains this text"),
  without: flag.text("no cases whose name contains this text"),
  dtype: flag.choice("compute in this type", ["f32", "f16", "bf16"], { byDefault: "the device's first" }),
  random: flag.count("that many random cases of attention instead of the list: any pattern, size, type and layout"),
  seed: flag.count("what random cases are drawn from", { least: 0, most: 2 ** 32 - 1, byDefault: "1" }),
  first: flag.count("number of the first random case", { least: 0, byDefault: "0" }),
  json: flag.toggle("print one JSON object with every case"),
};

type SelftestFlags = FlagValues<typeof flags>;

export const command = defineCommand({
  name: "selftest",
  summary: "check every operation of a device on this machine against exact arithmetic",
  description:
    "Runs each conformance case on the device and on a slow float64 reference with the same inputs. A case passes if its error is at most twice that of straightforward arithmetic in the device's precision, plus a small floor; in random cases, which may be too small for one rounding to tell, a miss is held against the largest error of sixteen roundings. The worst error is given as a share of what is allowed.",
  flags,
  examples: [
    { line: "scfa selftest", says: "everything, on the device that other commands would use" },
    { line: "scfa selftest --device cpu --threads 1 --filter attention", says: "one part of it, on one thread" },
    { line: "scfa selftest --random 1000 --seed 7", says: "attention in cases that nobody chose" },
    { line: "scfa selftest --random 834 --first 1668", says: "the third of twelve parts of 10,000 of them" },
  ],
  async run({ flags, terminal }) {
    for (const name of ["seed", "first"] as const) {
      if (flags[name] !== undefined && !flags.random) throw new UsageError(`--${name} goes with --random <count>.`);
    }
    await withDevice(flags, terminal, async (device) => {
      const { cases, leftOut } = await chooseCases(flags, device);
      // A log has each failure as soon as it is there, so that a run that is stopped leaves what it found.
      const atOnce = !flags.json && !terminal.isInteractive;
      const onFailure = (outcome: Outcome) => atOnce && terminal.out(failureText(outcome, flags));
      const outcomes = await runAll(cases, { device, dtype: flags.dtype, terminal, onFailure });
      const failed = outcomes.filter(({ pass }) => !pass);
      if (flags.json) {
        const counts = { cases: outcomes.length, failed: failed.length };
        const summary = { device: device.description, ...counts, leftOut, outcomes };
        terminal.out(`${JSON.stringify(summary, null, 2)}\n`);
      } else {
        terminal.out(roomTable(outcomes));
        for (const outcome of failed) terminal.out(atOnce ? `FAIL ${outcome.name}\n` : failureText(outcome, flags));
        for (const { name, why } of leftOut) terminal.out(`not run: ${name} (${why})\n`);
        terminal.out(
          `\n${outcomes.length - failed.length} of ${outcomes.length} cases pass on ${device.description}.\n`,
        );
      }
      if (failed.length > 0) throw new CommandFailure(`${failed.length} of ${outcomes.length} cases fail.`);
    });
  },
});

/** The list, or random cases, of which the filters and the device leave some. @throws UsageError if the filters leave none */
async function chooseCases(flags: SelftestFlags, device: Device) {
  const { dtype, filter = "", without, random, seed = 1, first = 0 } = flags;
  const { floatTypes } = device.capabilities;
  if (dtype && !floatTypes.includes(dtype)) {
    throw new UsageError(`--dtype is a type that ${device.description} computes in: ${floatTypes.join(", ")}.`);
  }
  const { conformanceCases, missingFor, randomConformance } = await import("../conformance/index.ts");
  const all = random
    ? randomConformance({ count: random, seed, first, floatTypes: dtype ? [dtype] : floatTypes })
    : conformanceCases;
  const has = (name: string, text: string) => name.toLowerCase().includes(text.toLowerCase());
  const asked = all.filter(({ name }) => has(name, filter) && !(without && has(name, without)));
  const leftOut = asked.flatMap((each) => {
    const why = missingFor(each, device);
    return why === null ? [] : [{ name: each.name, why }];
  });
  const cases = asked.filter((each) => missingFor(each, device) === null);
  if (asked.length > 0) return { cases, leftOut };
  const rooms = [...new Set(all.map(({ room }) => room))].join(", ");
  const rest = without ? ` without "${without}"` : "";
  throw new UsageError(`no case has "${filter}" in its name${rest}. The parts are: ${rooms}.`);
}

interface Setting {
  readonly device: Device;
  readonly dtype: FloatType | undefined;
  readonly terminal: Terminal;
  readonly onFailure: (outcome: Outcome) => void;
}

async function runAll(cases: readonly ConformanceCase[], setting: Setting): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const progress = await showProgress(setting.terminal, { total: cases.length, label: "selftest" });
  try {
    for (const conformanceCase of cases) {
      const outcome = await runOne(conformanceCase, setting);
      outcomes.push(outcome);
      if (!outcome.pass) setting.onFailure(outcome);
      progress.update(outcomes.length, [conformanceCase.room]);
    }
  } finally {
    progress.stop();
  }
  return outcomes;
}

async function runOne(conformanceCase: ConformanceCase, { device, dtype }: Setting): Promise<Outcome> {
  const { name, room, repeat = ["--filter", name] } = conformanceCase;
  const start = performance.now();
  const outcome = { name, room, repeat };
  try {
    const verdict = await conformanceCase.run(device, dtype);
    return { ...outcome, pass: verdict.pass, ms: performance.now() - start, verdict, error: null };
  } catch (error) {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return { ...outcome, pass: false, ms: performance.now() - start, verdict: null, error: text };
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

function failureText({ name, repeat, verdict, error }: Outcome, { device, dtype }: SelftestFlags): string {
  const what =
    verdict === null
      ? error
      : `${verdict.where} is off by ${verdict.worstError.toPrecision(3)}, allowed are ${verdict.budget.toPrecision(3)}`;
  const flags = [...(device ? ["--device", device] : []), ...(dtype ? ["--dtype", dtype] : []), ...repeat];
  const words = flags.map((word) => (/^[\w-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`));
  return `\nFAIL ${name}\n     ${what}\n     again: scfa selftest ${words.join(" ")}\n`;
}
