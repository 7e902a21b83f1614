import { causalPairs } from "../plan.ts";
import type { HostStaircase } from "../staircase/staircase.ts";
import { countTiles, visiblePairs } from "../staircase/tiles.ts";
import { drawGrid, drawStaircase, shade, shadeSteps, visibilityGrid } from "./attentionPicture.ts";
import type { Html } from "./html.ts";
import { escapeHtml, html, trusted } from "./html.ts";
import type { HeadPicture } from "./run.ts";

/** Cells on each side of a picture by position. */
const cells = 96;
/** Rows of the close-up, drawn pair by pair. */
const closeUpRows = 96;

/** The pictures of one head: by position, a close-up pair by pair, and each of its staircases in visit order. */
export function headPictures(head: HeadPicture, color: string): Html {
  const Tq = head.staircases[0]!.qRows.length;
  const Tk = head.staircases[0]!.kRows.length;
  const label = escapeHtml(head.label);
  const whole = drawGrid(
    visibilityGrid(head.staircases, { cells: Math.min(cells, Tq, Tk) || 1 }),
    `${label}, by position`,
  );
  const rows = Math.min(closeUpRows, Tq, Tk);
  const range = { first: Tq - rows, count: rows };
  const closeUp =
    Tq === Tk &&
    Tq > closeUpRows &&
    drawGrid(visibilityGrid(head.staircases, { cells: rows, range }), `${label}, close-up`);
  return html`<div class="head"><h3>${head.label}</h3><div class="pictures" style="color:${trusted(color)}">
<figure>${trusted(whole)}<figcaption>By position: all ${number(Tq)} queries and ${number(Tk)} keys. ${pairsShare(head.staircases)}</figcaption></figure>
${closeUp && html`<figure>${trusted(closeUp)}<figcaption>The last ${rows} positions, pair by pair.</figcaption></figure>`}
${head.staircases.map((s, i) => visitFigure(s, label, partName(i, head.staircases.length)))}
</div></div>`;
}

function visitFigure(s: HostStaircase, label: string, part: string): Html {
  const tile = pictureTile(Math.max(s.lo.length, s.kRows.length));
  const { skipped, partial, full } = countTiles(s, { Tk: s.kRows.length, blockM: tile, blockN: tile });
  const area = (partial + full) * tile * tile;
  const pairs = visiblePairs(s);
  const svg = drawStaircase(s, { tile, label: `${label}, in visit order` });
  return html`<figure>${trusted(svg)}<figcaption>In visit order${part}, in tiles of ${tile} × ${tile}: ${number(skipped)} skipped, ${number(partial)} partial (light),
${number(full)} full (dark). ${pairs > 0 && `Tiles cover ${(area / pairs).toFixed(2)} times the visible pairs.`}</figcaption></figure>`;
}

function partName(index: number, parts: number): string {
  return parts === 1 ? "" : `, part ${index + 1} of ${parts}`;
}

/** 64, or what keeps a picture at 128 tiles a side; smaller for short sequences, so that there is something to see. */
function pictureTile(rows: number): number {
  if (rows >= 64 * 16) return Math.max(64, 2 ** Math.ceil(Math.log2(rows / 128)));
  return Math.max(1, 2 ** Math.floor(Math.log2(rows / 16)));
}

function pairsShare(staircases: readonly HostStaircase[]): string {
  const visible = staircases.reduce((sum, s) => sum + visiblePairs(s), 0);
  const dense = causalPairs({ Tq: staircases[0]!.qRows.length, Tk: staircases[0]!.kRows.length });
  return dense === 0 ? "" : `${((100 * visible) / dense).toFixed(2)} % of the pairs of dense causal attention.`;
}

/** What the shades of the pictures by position mean. */
export function shadeLegend(): Html {
  const names = shadeSteps.map((least, i) => {
    const most = shadeSteps[i + 1];
    if (most === undefined) return "all";
    return i === 0
      ? `under ${percent(most)}`
      : `${percent(least)} – ${i === shadeSteps.length - 2 ? "less than all" : percent(most)}`;
  });
  return html`<div class="shades">Visible pairs of a cell, by position:
<span><i></i>none</span>${names.map((name, i) => html`<span><i style="--shade:${shade(shadeSteps[i]! + 1e-6)}"></i>${name}</span>`)}</div>`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function number(value: number): string {
  return value.toLocaleString("en");
}
