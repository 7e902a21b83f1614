import type { Run, RunMetric } from "./run.ts";

/** The numbers of one run that stand in a table; a field is undefined where the run does not say. */
export interface RunSummary {
  readonly name: string;
  readonly attention: string;
  readonly isDense: boolean;
  readonly parameters: number | undefined;
  readonly tokens: number | undefined;
  readonly steps: number;
  /** Mean training loss of the last steps, nats a token; `trainLossSteps` says of how many. */
  readonly trainLoss: number | undefined;
  readonly trainLossSteps: number;
  /** The last validation loss, nats a token. */
  readonly valLoss: number | undefined;
  /** Of the validation loss if there is one, else of the training loss. */
  readonly quality: { readonly kind: "bits per byte" | "perplexity"; readonly value: number } | undefined;
  /** Median over the steps. */
  readonly tokensPerS: number | undefined;
  readonly elapsedMs: number | undefined;
  /** Mean over the steps. */
  readonly visibleShare: number | undefined;
  /** tokensPerS over the dense run's; undefined for the dense run itself and where there is none. */
  readonly speedUp: number | undefined;
}

/** The numbers of each run, in order, and what they say in sentences. */
export interface Summary {
  readonly runs: readonly RunSummary[];
  readonly sentences: readonly string[];
}

/** Share of a run's steps, at its end, whose losses are averaged into the final training loss. */
const finalShare = 0.05;

/** Condenses runs to the numbers of the summary table, and compares each with the dense run if there is exactly one. */
export function summarise(runs: readonly Run[]): Summary {
  const alone = runs.map(summariseOne);
  const denseRuns = alone.filter((run) => run.isDense && run.tokensPerS !== undefined);
  const dense = denseRuns.length === 1 ? denseRuns[0] : undefined;
  const compared = alone.map((run) => ({
    ...run,
    speedUp: dense && run !== dense && run.tokensPerS !== undefined ? run.tokensPerS / dense.tokensPerS! : undefined,
  }));
  const denseRun = dense && runs[alone.indexOf(dense)];
  return {
    runs: compared,
    sentences: denseRun
      ? compared.flatMap((run, i) => (runs[i] === denseRun ? [] : compare(run, runs[i]!, dense, denseRun)))
      : [],
  };
}

function summariseOne(run: Run): RunSummary {
  const { metrics, details } = run;
  const attention = details.attention ?? attentionOf(run.config);
  const trainLossSteps = Math.min(metrics.length, Math.max(1, Math.round(metrics.length * finalShare)));
  const trainLoss = mean(metrics.slice(metrics.length - trainLossSteps).map((m) => m.loss));
  const valLoss = metrics.findLast((m) => m.valLoss !== undefined)?.valLoss;
  const loss = valLoss ?? trainLoss;
  const isBytes = details.tokenizer === "bytes";
  return {
    name: run.name,
    attention,
    isDense: /^dense\b/.test(attention) && !/\s/.test(attention.trim()),
    parameters: details.parameters,
    tokens: metrics.at(-1)?.tokens,
    steps: metrics.length,
    trainLoss,
    trainLossSteps,
    valLoss,
    quality:
      loss === undefined
        ? undefined
        : { kind: isBytes ? "bits per byte" : "perplexity", value: isBytes ? loss / Math.LN2 : Math.exp(loss) },
    tokensPerS: median(defined(metrics, "tokensPerS")),
    elapsedMs: metrics.at(-1)?.elapsedMs,
    visibleShare: mean(defined(metrics, "visibleShare")),
    speedUp: undefined,
  };
}

/** Differences of loss below this many nats are not told apart in words. */
const sameLoss = 0.005;

function compare(run: RunSummary, { metrics }: Run, dense: RunSummary, denseRun: Run): string[] {
  const sentences: string[] = [];
  if (run.speedUp !== undefined) {
    sentences.push(
      run.speedUp > 1.02
        ? `${run.name} trained ${run.speedUp.toFixed(2)} times as fast as ${dense.name}.`
        : run.speedUp < 0.98
          ? `${run.name} was not faster: it trained at ${run.speedUp.toFixed(2)} times the speed of ${dense.name}.`
          : `${run.name} was not faster: it trained at the speed of ${dense.name}.`,
    );
  }
  const sameTokens = run.tokens !== undefined && run.tokens === dense.tokens;
  const [ours, theirs] =
    run.valLoss !== undefined && dense.valLoss !== undefined
      ? [run.valLoss, dense.valLoss]
      : [run.trainLoss, dense.trainLoss];
  if (sameTokens && ours !== undefined && theirs !== undefined) {
    const kind = ours === run.valLoss ? "validation" : "training";
    const gap = ours - theirs;
    sentences.push(
      Math.abs(gap) < sameLoss
        ? `After the same tokens its ${kind} loss is the same (${ours.toFixed(3)}).`
        : `After the same tokens its ${kind} loss is ${Math.abs(gap).toFixed(3)} nats ${gap > 0 ? "higher: worse" : "lower: better"}.`,
    );
  }
  const early = run.elapsedMs === undefined ? undefined : lossAt(denseRun.metrics, run.elapsedMs);
  const own = run.elapsedMs === undefined ? undefined : lossAt(metrics, run.elapsedMs);
  if (early !== undefined && own !== undefined && run.elapsedMs! < (dense.elapsedMs ?? 0)) {
    sentences.push(
      `When it was done, after ${seconds(run.elapsedMs!)}, ${dense.name} stood at a training loss of ${early.toFixed(3)}, it at ${own.toFixed(3)}.`,
    );
  }
  return sentences.length > 0 ? [sentences.join(" ")] : [];
}

/** Mean training loss of the steps around a moment of the run. */
function lossAt(metrics: readonly RunMetric[], elapsedMs: number): number | undefined {
  const end = metrics.findLastIndex((m) => m.elapsedMs !== undefined && m.elapsedMs <= elapsedMs);
  if (end < 0) return undefined;
  const steps = Math.max(1, Math.round(metrics.length * finalShare));
  return mean(metrics.slice(Math.max(0, end + 1 - steps), end + 1).map((m) => m.loss));
}

function seconds(ms: number): string {
  return ms < 90_000 ? `${(ms / 1000).toFixed(0)} s` : `${(ms / 60_000).toFixed(1)} minutes`;
}

function attentionOf(config: Record<string, unknown>): string {
  const model = config["model"];
  const attention =
    typeof model === "object" && model !== null ? (model as Record<string, unknown>)["attention"] : null;
  if (typeof attention === "string") return attention;
  if (Array.isArray(attention) && attention.every((a) => typeof a === "string")) {
    return [...new Set(attention)].join(" | ");
  }
  return "not recorded";
}

function defined(metrics: readonly RunMetric[], key: "tokensPerS" | "visibleShare"): number[] {
  return metrics.map((m) => m[key]).filter((x) => x !== undefined);
}

function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((a, b) => a + b, 0) / values.length;
}

/** The middle value; the mean of the two middle ones for an even count. */
export function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1]! + sorted[half]!) / 2;
}
