// Writes web/picture.svg, the README's picture of Explore: pairs by position, and on their way to visit order. Drawn from
// the package's own plan, so that its numbers are what the page shows for the same buckets.
// Usage: node web/scripts/picture.mjs [FILE]
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { lsh, openDevice, pattern, plan } from "../../dist/index.js";

const [T, D, buckets, tile, side] = [48, 16, 6, 8, 336];
const cell = side / T;
const steps = ["0b6fb8/58aef2", "c4500a/ff9350", "00795c/3ccaa4", "9b4688/e796d4", "8a6a00/e3bd45", "5a55c9/a9a5ff"];

const device = await openDevice("cpu", { threads: 1 });
const x = device.tensor(
  Float32Array.from({ length: T * D }, (_, i) => Math.sin(12.9898 * (i + 1) * (1 + (i % 7)))),
  [1, T, 1, D],
);
const hashed = lsh(x, { buckets, seed: 3 });
const shape = { B: 1, Tq: T, Tk: T, H: 1, Hk: 1 };
const made = await plan(pattern.hash({ qBuckets: hashed, kBuckets: hashed, buckets }), shape, {
  blockM: tile,
  blockN: tile,
});
const dense = await plan(pattern.dense(), shape, { blockM: tile, blockN: tile });
const [{ qRows, kRows, lo, hi }] = made.parts[0].heads;
device.dispose();

const bucketOf = new Int32Array(T);
for (let n = 1; n < T; n++) bucketOf[n] = bucketOf[n - 1] + (lo[n] >= hi[n - 1] ? 1 : 0);
const places = Array.from({ length: T }, (_, n) =>
  Array.from({ length: hi[n] - lo[n] }, (_, m) => [n, lo[n] + m]),
).flat();
const square = ([n, m], style = "") =>
  `<rect class="b${bucketOf[n]}" x="${round(m * cell)}" y="${round(n * cell)}" width="${cell}" height="${cell}"${style}/>`;
const byPosition = places.map(([n, m]) => {
  const [x, y] = [kRows[m], qRows[n]].map((place) => round(place * cell));
  return `<rect class="b${bucketOf[n]}" x="${x}" y="${y}" width="${cell}" height="${cell}"/>`;
});
const moving = places.map(([n, m]) => {
  const [x, y] = [kRows[m] - m, qRows[n] - n].map((places) => round(places * cell));
  return square([n, m], ` style="--x:${x}px;--y:${y}px"`);
});
const tiles = [];
for (let row = 0; row < T / tile; row++) {
  const [first, last] = [row * tile, (row + 1) * tile - 1];
  for (let column = Math.floor(lo[first] / tile); column * tile < hi[last]; column++) {
    tiles.push(
      `<rect x="${column * tile * cell}" y="${row * tile * cell}" width="${tile * cell}" height="${tile * cell}"/>`,
    );
  }
}
const lines = Array.from({ length: T / tile - 1 }, (_, i) => round((i + 1) * tile * cell));
const grid = lines.map((at) => `M${at} 0V${side}M0 ${at}H${side}`).join("");

const visited = made.tiles.partial + made.tiles.full;
const facts = [
  ["Pairs", `${(100 * made.visibleShare).toFixed(1)} %`],
  ["Tiles", `${((100 * visited) / (dense.tiles.partial + dense.tiles.full)).toFixed(1)} %`],
  ["Speed-up by pairs", `${(1 / made.visibleShare).toFixed(2)}×`],
  ["Speed-up by tiles", `${((dense.tiles.partial + dense.tiles.full) / visited).toFixed(2)}×`],
];
const colors = (pick) => steps.map((pair, i) => `.b${i}{fill:#${pair.split("/")[pick]}}`).join("");
const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 520" font-family="Inter,system-ui,-apple-system,'Segoe UI',Roboto,sans-serif" role="img" aria-label="The playground's Explore page: hashed attention by position, and sorted into visit order, where it is a staircase of ${buckets} steps">
<style>
.paper{fill:#fff;stroke:#dcddd8}.ink{fill:#1d1f22}.muted{fill:#5b6169}.grid{stroke:#1d1f221a;fill:none}.frame{fill:none;stroke:#dcddd8}.tiles{fill:#f5e2bd}.accent{fill:#0b6fb8}.tint{fill:#e6f0f8}${colors(0)}
@media (prefers-color-scheme:dark){.paper{fill:#17191d;stroke:#31353b}.ink{fill:#e8e9ea}.muted{fill:#a3a9b1}.grid{stroke:#ffffff1c}.frame{stroke:#31353b}.tiles{fill:#4a4030}.accent{fill:#58aef2}.tint{fill:#16283a}${colors(1)}}
@media (prefers-reduced-motion:no-preference){.moving rect{animation:sort 9s ease-in-out infinite}.tiles{animation:show 9s ease-in-out infinite}}
@keyframes sort{0%,18%{transform:translate(var(--x),var(--y))}48%,100%{transform:none}}
@keyframes show{0%,48%{opacity:0}56%,100%{opacity:1}}
</style>
<rect class="paper" x="1" y="1" width="778" height="518" rx="12"/>
<path class="accent" transform="translate(24 17)" d="M1 1h5v5h5v4h4v5H11v-5H6V6H1z"/>
<text class="ink" x="48" y="31" font-size="15" font-weight="650">scfa <tspan class="muted" font-weight="400">playground</tspan></text>
<rect class="tint" x="186" y="12" width="74" height="29" rx="8"/>
<text class="accent" x="223" y="31" font-size="14" font-weight="600" text-anchor="middle">Explore</text>
<text class="muted" x="282" y="31" font-size="14">Measure</text>
<text class="muted" x="358" y="31" font-size="14">Train</text>
<path class="frame" d="M1 52H779"/>
${facts
  .map(
    ([term, value], i) =>
      `<text class="muted" x="${24 + 184 * i}" y="80" font-size="13">${term}</text><text class="ink" x="${24 + 184 * i}" y="105" font-size="22" font-weight="600">${value}</text>`,
  )
  .join("\n")}
<text class="ink" x="24" y="138" font-size="13.5" font-weight="600">By position <tspan class="muted" font-weight="400">queries down, keys across</tspan></text>
<text class="ink" x="420" y="138" font-size="13.5" font-weight="600">In visit order <tspan class="muted" font-weight="400">tile by tile</tspan></text>
<g transform="translate(24 150)"><rect class="frame" width="${side}" height="${side}"/>${byPosition.join("")}</g>
<g transform="translate(420 150)"><g class="tiles">${tiles.join("")}</g><path class="grid" d="${grid}"/><rect class="frame" width="${side}" height="${side}"/><g class="moving">${moving.join("")}</g></g>
<text class="muted" x="24" y="507" font-size="13">${buckets} hash buckets, ${T} tokens, tiles of ${tile} × ${tile}: ${made.tiles.skipped} skipped, ${made.tiles.partial} partial, ${made.tiles.full} full</text>
</svg>
`;
writeFileSync(process.argv[2] ?? join(import.meta.dirname, "../picture.svg"), svg);

function round(value) {
  return Number(value.toFixed(2));
}
