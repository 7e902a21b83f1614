import type { Chart, ChartSet } from "./charts.ts";
import { type Figure, valuesOf } from "./figure.ts";
import { headPictures, shadeLegend } from "./heads.ts";
import type { Html } from "./html.ts";
import { html, trusted } from "./html.ts";
import type { Run } from "./run.ts";
import { style } from "./style.ts";
import type { RunSummary, Summary } from "./summary.ts";
import { summarise } from "./summary.ts";

/** Where and when a report was made, for its foot. */
export interface ReportOptions {
  readonly title?: string;
  /** The command that made the report. */
  readonly command?: string;
  /** Drawn from recorded lines; they stand below the runs, or alone. */
  readonly figures?: readonly Figure[];
}

/**
 * Makes one self-contained HTML page of the given runs and figures: no script, no network, light and dark.
 * Works without a DOM, in Node and in browsers.
 */
export async function renderReport(runs: readonly Run[], options: ReportOptions = {}): Promise<string> {
  const charts = await import("./charts.ts");
  const { figures = [] } = options;
  const title = options.title ?? (runs.length > 0 ? "Training report" : "Measurements");
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>${trusted(style)}</style>
</head>
<body>
<main>
<header><h1>${title}</h1><p class="muted">${subtitle(runs, figures)}</p></header>
${runs.length > 0 && (await runSections(runs, charts))}
${figures.map((figure) => figureSection(figure))}
${runs.length > 0 && originSection(runs)}
${options.command && html`<p class="small muted" style="margin-top:12px">This page: <code>${options.command}</code></p>`}
</main>
</body>
</html>
`;
  return page.text;
}

async function runSections(runs: readonly Run[], charts: Charts): Promise<Html> {
  const measured = runs.some((run) => run.metrics.length > 0);
  const timed = runs.some((run) => run.metrics.some((m) => m.elapsedMs !== undefined));
  const sped = runs.some((run) => run.metrics.some((m) => m.tokensPerS !== undefined));
  return html`${summarySection(runs, summarise(runs), charts)}
${
  measured
    ? html`<section><h2>How the loss fell, and how fast</h2>${legend(runs, charts)}<div class="grid">
${chartFigure("Loss against tokens", await charts.lossAgainstTokens(runs), lossCaption(runs))}
${timed && chartFigure("Loss against time", await charts.lossAgainstTime(runs), "The time spent on each run alone.")}
${sped && chartFigure("Speed", await charts.speedAgainstTokens(runs), "Tokens trained per second; thin: every step, bold: mean of neighbouring steps.")}
</div></section>`
    : html`<p class="card">None of these runs has finished a step yet.</p>`
}
${attentionSection(runs, charts)}
${sampleSection(runs)}`;
}

type Charts = typeof import("./charts.ts");

function subtitle(runs: readonly Run[], figures: readonly Figure[]): string {
  const ofFigures = (term: string) => figures.flatMap(({ origin }) => valuesOf(origin, term));
  const dates = runs.map((run) => run.details.date?.slice(0, 10)).filter((d) => d !== undefined);
  const days = [...new Set([...dates, ...ofFigures("date")])].sort();
  const machines = runs.map((run) => run.details.machine).filter((m) => m !== undefined);
  const counted = (list: readonly unknown[], name: string) =>
    list.length === 0 ? undefined : `${list.length} ${list.length === 1 ? name : `${name}s`}`;
  return [
    counted(runs, "run"),
    counted(figures, "figure"),
    days.length > 1 ? `${days[0]} to ${days.at(-1)}` : days[0],
    ...new Set([...machines, ...ofFigures("machine")]),
  ]
    .filter((part) => part !== undefined)
    .join(" · ");
}

function key(run: { name: string }, index: number, { runColor, runShape }: Charts): Html {
  const path = trusted(shapePaths[runShape(index)]!);
  return html`<span class="key"><svg viewBox="0 0 14 14" aria-hidden="true"><path d="${path}" fill="${trusted(runColor(index))}"/></svg>${run.name}</span>`;
}

const shapePaths: Record<string, string> = {
  circle: "M7 1.5a5.5 5.5 0 1 0 0.001 0z",
  square: "M2 2h10v10h-10z",
  "triangle-up": "M7 1.5l6 10.5h-12z",
  diamond: "M7 0.5l5 6.5l-5 6.5l-5 -6.5z",
  cross: "M5 1h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
  "triangle-down": "M7 12.5l6 -10.5h-12z",
};

function legend(runs: readonly Run[], charts: Charts): Html {
  return html`<div class="legend">${runs.map((run, i) => key(run, i, charts))}</div>`;
}

function summarySection(runs: readonly Run[], summary: Summary, charts: Charts): Html {
  const kinds = [...new Set(summary.runs.map((run) => run.quality?.kind).filter((kind) => kind !== undefined))];
  const averaged = Math.max(0, ...summary.runs.map((run) => run.trainLossSteps));
  const columns: Column[] = [
    { head: "attention", cell: (run) => run.attention, left: true },
    { head: "parameters", cell: (run) => count(run.parameters) },
    { head: "tokens", cell: (run) => count(run.tokens) },
    { head: "training loss", cell: (run) => run.trainLoss?.toFixed(3) },
    { head: "validation loss", cell: (run) => run.valLoss?.toFixed(3) },
    ...kinds.map((kind) => ({
      head: kind,
      cell: (run: RunSummary) =>
        run.quality?.kind === kind ? run.quality.value.toFixed(kind === "perplexity" ? 1 : 3) : undefined,
    })),
    { head: "tokens/s", cell: (run) => count(run.tokensPerS) },
    { head: "speed-up", cell: (run) => run.speedUp && `${run.speedUp.toFixed(2)}×` },
    { head: "visible pairs", cell: (run) => run.visibleShare && percent(run.visibleShare) },
  ];
  return html`<section class="card" style="margin-top:20px"><div class="scroll"><table>
<thead><tr><th>run</th>${columns.map((c) => html`<th${c.left && trusted(' class="left"')}>${c.head}</th>`)}</tr></thead>
<tbody>${summary.runs.map((run, i) => html`<tr><td>${key(runs[i]!, i, charts)}</td>${columns.map((c) => tableCell(c, run))}</tr>`)}</tbody>
</table></div>
${summary.sentences.length > 0 && html`<ul class="says">${summary.sentences.map((s) => html`<li>${s}</li>`)}</ul>`}
<p class="small muted" style="margin-top:12px">Losses in nats per token, training loss as the mean of the last steps (at most ${averaged}). Tokens/s is the median over the steps,
speed-up its ratio to the dense run. Visible pairs: the (query, key) pairs that attention computes, of those of dense causal attention.</p>
${runs.flatMap((run) => run.notes.map((note) => html`<p class="small muted">${run.name}: ${note}</p>`))}
</section>`;
}

interface Column {
  readonly head: string;
  readonly cell: (run: RunSummary) => string | number | undefined;
  readonly left?: boolean;
}

function tableCell({ head, cell, left }: Column, run: RunSummary): Html {
  const value = cell(run);
  if (value === undefined || value === 0) return html`<td class="none" data-head="${head}">–</td>`;
  return html`<td${left && trusted(' class="left"')} data-head="${head}">${value}</td>`;
}

function chartFigure(title: string, { wide, narrow, notes }: ChartSet, caption: string): Html {
  const one = (chart: Chart, name: string) => html`<div class="${name}">${trusted(chart.svg)}</div>`;
  return html`<figure class="card chart${wide.widthPx > 700 && " whole"}" role="group" aria-label="${title}"><h3>${title}</h3>${one(wide, "wide")}${one(narrow, "narrow")}
<figcaption>${[caption, ...notes].filter(Boolean).join(" ")}</figcaption></figure>`;
}

function lossCaption(runs: readonly Run[]): string {
  const validated = runs.some((run) => run.metrics.some((m) => m.valLoss !== undefined));
  return `Training loss, thin: every step, bold: mean of neighbouring steps.${validated ? " Marks: validation loss." : ""}`;
}

function attentionSection(runs: readonly Run[], charts: Charts): Html | null {
  if (!runs.some((run) => run.details.heads?.length)) return null;
  return html`<section><h2>What attention sees</h2>
<p class="muted">Queries go down, keys across. In visit order, what a query sees is one stretch of keys between two bounds that never go back: a staircase.
A kernel skips the empty tiles, and needs no mask in the full ones.</p>
${shadeLegend()}
${runs.map((run, i) =>
  run.details.heads?.length
    ? html`<div class="card run">${key(run, i, charts)}${run.details.heads.map((head) => headPictures(head, charts.runColor(i)))}</div>`
    : null,
)}
</section>`;
}

function sampleSection(runs: readonly Run[]): Html | null {
  const withSample = runs.filter((run) => run.details.sample);
  if (withSample.length === 0) return null;
  return html`<section><h2>What the models write</h2><div class="grid samples">${withSample.map(
    ({ name, details: { sample } }) =>
      html`<div class="card"><h3>${name}</h3><pre><span class="prompt">${sample!.prompt}</span>${sample!.text}</pre></div>`,
  )}</div><p class="small muted" style="margin-top:8px">The grey words were given; the model wrote the rest.</p></section>`;
}

/** A figure of recorded lines; in a narrow page its panels stand below each other. */
function figureSection({ title, says, columns, panels, origin }: Figure): Html {
  return html`<figure class="card figure" aria-label="${title}"><h2>${title}</h2>
<p>${says}</p>
<div class="panels" style="--columns: ${columns}">${panels.map(({ svg }) => html`<div>${trusted(svg)}</div>`)}</div>
<details><summary>Where the lines are from</summary>${factList(
    origin.flatMap(({ term, values }) => values.map((value) => ({ term, value }))),
  )}</details></figure>`;
}

function originSection(runs: readonly Run[]): Html {
  const all = runs.map(originFacts);
  const common = (all[0] ?? []).filter((fact) => all.every((facts) => facts.some((f) => sameFact(f, fact))));
  const own = (i: number) => all[i]!.filter((fact) => !common.some((f) => sameFact(f, fact)));
  return html`<section><h2>How it was made</h2>
${common.length > 0 && html`<div class="card">${factList(common)}</div>`}
${runs.map(
  (run, i) => html`<div class="card run"><h3>${run.name}</h3>${factList(own(i))}
<details><summary>Configuration</summary><pre>${JSON.stringify(run.config, null, 2)}</pre></details></div>`,
)}
</section>`;
}

interface Fact {
  readonly term: string;
  readonly value: string;
}

function originFacts({ details }: Run): Fact[] {
  return [
    { term: "command", value: details.command ?? "" },
    { term: "data", value: details.data ?? "" },
    { term: "machine", value: details.machine ?? "" },
    { term: "device", value: details.device ?? "" },
    { term: "started", value: details.date ?? "" },
    { term: "scfa", value: [details.version, details.commit].filter(Boolean).join(", commit ") },
  ].filter(({ value }) => value !== "");
}

function sameFact(a: Fact, b: Fact): boolean {
  return a.term === b.term && a.value === b.value;
}

function factList(facts: readonly Fact[]): Html | null {
  if (facts.length === 0) return null;
  return html`<dl>${facts.map(({ term, value }) => html`<dt>${term}</dt><dd>${term === "command" ? html`<code>${value}</code>` : value}</dd>`)}</dl>`;
}

function count(value: number | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} G`;
  if (value >= 1e7) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  return Math.round(value).toLocaleString("en");
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 2 : 1)} %`;
}
