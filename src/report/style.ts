/** Colours of both themes as variables, for the page and for each figure that is a file of its own. */
export const themes = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ground: #f5f5f2; --ink: #1d1f22; --muted: #5f656d; --line: #d9dad5;
  --run0: #30363d; --run1: #0b6fb8; --run2: #c4500a; --run3: #00795c; --run4: #9b4688; --run5: #8a6a00; --run6: #5a55c9; --run7: #a3263d;
  --ramp0: #4c8fc4; --ramp1: #3a7cb3; --ramp2: #2a689f; --ramp3: #1d5488; --ramp4: #12406f; --ramp5: #0a2a4d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17191c; --ground: #0e1012; --ink: #e8e9ea; --muted: #a0a6ad; --line: #33373d;
    --run0: #d5d9de; --run1: #58aef2; --run2: #ff9350; --run3: #3ccaa4; --run4: #e796d4; --run5: #e3bd45; --run6: #a9a5ff; --run7: #ff8494;
    --ramp0: #4a7fb3; --ramp1: #5b93c8; --ramp2: #70a8db; --ramp3: #8bbae6; --ramp4: #b0d2f3; --ramp5: #d8ebff;
  }
}
`;

/** The report's only style sheet. Charts and pictures draw with its variables, so that one SVG serves light and dark. */
export const style = `
${themes}* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 19px; margin: 40px 0 12px; }
h3 { font-size: 16px; margin: 0 0 4px; }
p { margin: 0 0 8px; }
.muted, figcaption { color: var(--muted); }
.chart figcaption { margin-top: 10px; }
figcaption, .small { font-size: 13.5px; line-height: 1.45; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 18px; }
.says { margin: 16px 0 0; padding: 0 0 0 20px; }
.says li { margin: 4px 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14.5px; }
th, td { padding: 9px 8px; text-align: right; white-space: nowrap; }
th { font-weight: 500; color: var(--muted); font-size: 13px; line-height: 1.3; vertical-align: bottom; white-space: normal; }
td.left { white-space: normal; min-width: 130px; }
th:first-child, td:first-child, th.left, td.left { text-align: left; }
th:first-child, td:first-child { padding-left: 2px; }
tbody tr { border-top: 1px solid var(--line); }
td.none { color: var(--muted); }
.key { display: inline-flex; align-items: center; gap: 8px; font-weight: 600; }
.key svg { width: 14px; height: 14px; flex: none; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 22px; margin: 0 0 12px; }
.grid { display: grid; gap: 16px; grid-template-columns: repeat(2, minmax(0, 1fr)); }
figure { margin: 0; min-width: 0; }
figure h3 { margin-bottom: 8px; }
.samples { grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); }
.whole { grid-column: 1 / -1; }
.chart svg { width: 100%; height: auto; display: block; }
.chart .narrow { display: none; }
.panels { display: grid; gap: 12px 24px; grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); margin: 14px 0 4px; max-width: 900px; }
.panels svg { width: 100%; height: auto; display: block; }
.figure { margin-top: 16px; }
.figure h2 { margin-top: 0; }
.figure p { max-width: 900px; }
.run { margin-top: 16px; }
.head { margin-top: 18px; }
.head:first-of-type { margin-top: 8px; }
.pictures { display: grid; gap: 18px; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); max-width: 1000px; margin-top: 10px; }
.pictures svg { width: 100%; aspect-ratio: 1; display: block; background: var(--ground); border: 1px solid var(--line); }
.pictures figcaption { margin-top: 6px; }
.shades { display: flex; flex-wrap: wrap; gap: 4px 14px; margin: 0 0 4px; font-size: 13.5px; color: var(--muted); }
.shades span { display: inline-flex; align-items: center; gap: 6px; }
.shades i { width: 14px; height: 14px; border: 1px solid var(--line); display: inline-block; background: var(--ground); position: relative; }
.shades i::after { content: ""; position: absolute; inset: 0; background: var(--ink); opacity: var(--shade, 0); }
pre { margin: 8px 0 0; padding: 12px 14px; background: var(--ground); border: 1px solid var(--line); border-radius: 8px; white-space: pre-wrap; overflow-wrap: anywhere; font: 13.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre .prompt { color: var(--muted); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 18px; margin: 0; font-size: 14.5px; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
details summary { cursor: pointer; color: var(--muted); font-size: 14px; margin-top: 10px; }
@media (max-width: 760px) {
  main { padding: 20px 12px 48px; }
  h1 { font-size: 23px; }
  .card { padding: 14px; }
  .grid:not(.samples) { grid-template-columns: minmax(0, 1fr); }
  dl { grid-template-columns: minmax(0, 1fr); }
  dd { margin-bottom: 6px; }
  .panels { grid-template-columns: minmax(0, 1fr); }
  .chart .wide { display: none; }
  .chart .narrow { display: block; }
  thead { display: none; }
  table, tbody { display: block; }
  tbody tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 6px 12px; padding: 12px 0; }
  tbody tr:first-child { border-top: 0; padding-top: 0; }
  td, td:first-child, td.left { display: block; text-align: left; padding: 0; min-width: 0; }
  td:first-child { grid-column: 1 / -1; }
  td[data-head]::before { content: attr(data-head); display: block; color: var(--muted); font-size: 12.5px; }
}
@media (max-width: 520px) {
  .pictures { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px; }
}
@media print { body { background: none; } .card { break-inside: avoid; } }
`;
