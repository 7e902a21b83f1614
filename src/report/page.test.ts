import { describe, expect, test } from "vitest";
import { type Html, html, trusted } from "./html.ts";
import { renderReport } from "./page.ts";
import type { Run } from "./run.ts";

const evil = `</style></svg><script>alert(1)</script><img src=x onerror="alert('2')">&`;

function run(name: string, more: Partial<Run> = {}): Run {
  const metrics = Array.from({ length: 30 }, (_, i) => ({
    step: i + 1,
    tokens: (i + 1) * 4096,
    loss: 5.5 / (1 + i),
    tokensPerS: 1000 + i,
    elapsedMs: i * 1000,
    visibleShare: 0.1,
    ...(i % 10 === 9 ? { valLoss: 1 } : {}),
  }));
  return { name, config: { model: {} }, metrics, details: {}, notes: [], ...more };
}

/** The first match, so that a failure prints that and not the page. */
const find = (page: string, what: RegExp) => what.exec(page)?.[0] ?? null;

const [qRows, kRows, lo, hi] = [
  [1, 0, 2],
  [0, 1, 2],
  [0, 0, 1],
  [1, 2, 3],
].map((list) => Int32Array.from(list));
const staircase = { qRows: qRows!, kRows: kRows!, lo: lo!, hi: hi! };

describe("renderReport", () => {
  test("nothing that comes from a run can become markup", async () => {
    const page = await renderReport(
      [
        run(evil, {
          config: { [evil]: evil },
          notes: [evil],
          details: {
            attention: evil,
            command: evil,
            machine: evil,
            device: evil,
            data: evil,
            date: evil,
            sample: { prompt: evil, text: evil },
            heads: [{ label: evil, staircases: [staircase] }],
          },
        }),
      ],
      { title: evil, command: evil },
    );
    expect(find(page, /<(script|img)/)).toBeNull();
    expect(page.match(/<\/style>/g)).toHaveLength(1);
    // A quote from a label would leave the attribute it stands in.
    expect(find(page, /onerror="/)).toBeNull();
  });

  test("is self-contained: no script, no link, no address to load from", async () => {
    const page = await renderReport([run("dense"), run("hash")]);
    expect(find(page, /<(script|link|iframe|img|object|embed)\b/)).toBeNull();
    expect(find(page, /\b(src|href)\s*=/)).toBeNull();
    expect(find(page, /url\((?!#)|@import/)).toBeNull();
    expect(find(page.replaceAll(/xmlns(:\w+)?="[^"]*"/g, ""), /https?:.{0,80}/)).toBeNull();
  });

  test("one run, and runs without times or speeds, make a page", async () => {
    const bare = run("bare", { metrics: [{ step: 1, tokens: 10, loss: 2 }] });
    const page = await renderReport([bare]);
    expect(find(page, /Loss against tokens/)).not.toBeNull();
    expect(find(page, /Loss against time/)).toBeNull();
    expect(find(page, /.{0,20}NaN/)).toBeNull();
  });

  test("every run has its own colour and mark, also where there are many", async () => {
    const page = await renderReport(Array.from({ length: 9 }, (_, i) => run(`run-${i}`)));
    const colours = new Set([...page.matchAll(/stroke="var\(--run(\d)\)"/g)].map(([, i]) => i));
    expect([...colours].sort().join("")).toBe("01234567");
  });

  test("charts take their colours from the page, so that one drawing serves light and dark", async () => {
    const page = await renderReport([run("dense")]);
    const charts = page.slice(page.indexOf("Loss against tokens"), page.indexOf("How it was made"));
    expect(find(charts, /(?:fill|stroke)="(?:#|rgb|black|white)[^"]*/)).toBeNull();
  });

  test("steps leave the view only with a word about it", async () => {
    const falling = run("dense", {
      metrics: Array.from({ length: 100 }, (_, i) => ({ step: i, tokens: i, loss: i === 0 ? 9 : 3 - i * 0.01 })),
    });
    expect(find(await renderReport([falling]), /lie outside the chart/)).not.toBeNull();
  });
});

test("html escapes values, joins lists and passes marked markup", () => {
  const list: (string | number | Html | null | false)[] = ["<a>", html`<b>${'"'}</b>`, null, false, 3];
  expect(html`<p>${list}${trusted("<i>")}</p>`.text).toBe("<p>&lt;a&gt;<b>&quot;</b>3<i></p>");
});
