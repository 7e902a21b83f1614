import { basename, join, resolve } from "node:path";
import { z } from "zod";
import { DataError } from "../errors.ts";
import { errorCode, openFile } from "../files/index.ts";
import type { HostStaircase } from "../staircase/staircase.ts";
import type { Run, RunDetails, RunMetric } from "./run.ts";

/** Files of a run folder that a report reads. `config` and `metrics` must be there. */
export const runFiles = { config: "config.json", metrics: "metrics.jsonl", details: "run.json" } as const;

/** A file larger than this is not read: no run writes one. */
const maxFileBytes = 256 * 2 ** 20;

/**
 * Reads a run folder: config.json, metrics.jsonl and, if there, run.json. Lines of metrics.jsonl that do not hold a
 * metric, such as one half written when the run was killed, are left out and named in `notes`; of two lines for one
 * step (a run that went back to a checkpoint) the later one counts.
 * @throws DataError if the folder, config.json or metrics.jsonl cannot be read, or config.json is not a JSON object
 */
export async function readRun(folder: string): Promise<Run> {
  const notes: string[] = [];
  const config = parseObject(join(folder, runFiles.config), await readText(join(folder, runFiles.config)));
  const { metrics, skipped } = parseMetrics(await readText(join(folder, runFiles.metrics)));
  if (skipped.length > 0) notes.push(`${runFiles.metrics}: left out ${lineList(skipped)}, which hold no metric.`);
  return {
    name: basename(resolve(folder)),
    config,
    metrics,
    details: await readDetails(join(folder, runFiles.details), notes),
    notes,
  };
}

const finite = z.number();
const metricSchema = z.object({
  step: finite.int().nonnegative(),
  tokens: finite.nonnegative(),
  loss: finite,
  valLoss: finite.optional(),
  stepMs: finite.nonnegative().optional(),
  tokensPerS: finite.nonnegative().optional(),
  elapsedMs: finite.nonnegative().optional(),
  visibleShare: finite.min(0).max(1).optional(),
});

/** Parses the text of a metrics.jsonl; `skipped` are the numbers of the lines that hold no metric. */
export function parseMetrics(text: string): { metrics: RunMetric[]; skipped: number[] } {
  const bySteps = new Map<number, RunMetric>();
  const skipped: number[] = [];
  text.split("\n").forEach((line, i) => {
    if (line.trim() === "") return;
    const parsed = metricSchema.safeParse(parseJson(line));
    if (parsed.success) bySteps.set(parsed.data.step, withoutUndefined(parsed.data));
    else skipped.push(i + 1);
  });
  return { metrics: [...bySteps.values()].sort((a, b) => a.step - b.step), skipped };
}

const places = z
  .array(finite.int().nonnegative())
  .max(2 ** 20)
  .transform((list) => Int32Array.from(list));
const detailsSchema = z.object({
  command: z.string().optional(),
  date: z.string().optional(),
  version: z.string().optional(),
  commit: z.string().optional(),
  machine: z.string().optional(),
  device: z.string().optional(),
  parameters: finite.int().nonnegative().optional(),
  tokenizer: z.string().optional(),
  attention: z.string().optional(),
  data: z.string().optional(),
  sample: z.object({ prompt: z.string(), text: z.string() }).optional(),
  heads: z
    .array(
      z.object({
        label: z.string(),
        staircases: z
          .array(z.object({ qRows: places, kRows: places, lo: places, hi: places }).refine(isStaircase))
          .min(1)
          .max(16),
      }),
    )
    .max(64)
    .optional(),
});

/** Whether the arrays go together and stay in range, so that drawing them cannot go wrong. */
function isStaircase(s: HostStaircase): boolean {
  const Tq = s.qRows.length;
  const Tk = s.kRows.length;
  if (s.lo.length !== Tq || s.hi.length !== Tq) return false;
  if (s.qRows.some((row) => row >= Tq) || s.kRows.some((row) => row >= Tk)) return false;
  return s.hi.every((hi, n) => {
    return s.lo[n]! <= hi && hi <= Tk && (n === 0 || (hi >= s.hi[n - 1]! && s.lo[n]! >= s.lo[n - 1]!));
  });
}

async function readDetails(file: string, notes: string[]): Promise<RunDetails> {
  try {
    const parsed = detailsSchema.safeParse(parseJson(await readText(file)));
    if (parsed.success) return withoutUndefined(parsed.data) as RunDetails;
    const place = parsed.error.issues[0];
    notes.push(`${runFiles.details}: not used, ${place?.path.join(".") || "it"} is not what it should be.`);
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    if (errorCode(error.cause) !== "ENOENT") notes.push(`${runFiles.details}: not used, it cannot be read.`);
  }
  return {};
}

async function readText(file: string): Promise<string> {
  const source = await openFile(file);
  try {
    if (source.size > maxFileBytes)
      throw new DataError(file, "size", `${source.size} bytes is more than any run writes`);
    return new TextDecoder().decode(await source.read(0, source.size));
  } finally {
    await source.close();
  }
}

function parseObject(file: string, text: string): Record<string, unknown> {
  const value = parseJson(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new DataError(file, "start", "holds no JSON object");
  }
  return value as Record<string, unknown>;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as never;
}

function lineList(lines: readonly number[]): string {
  const shown = lines.slice(0, 5).join(", ");
  return lines.length === 1
    ? `line ${shown}`
    : `lines ${shown}${lines.length > 5 ? ` and ${lines.length - 5} more` : ""}`;
}
