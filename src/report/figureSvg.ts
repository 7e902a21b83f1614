import { type Figure, figureWidthPx, gapPx, valuesOf } from "./figure.ts";
import { html, trusted } from "./html.ts";
import { themes } from "./style.ts";

const marginPx = 22;
const headPx = 40;
const footPx = 22;

/** A figure as one SVG file, to be shown as an image: its colours follow the reader's light or dark theme. */
export function figureSvg({ title, says, panels, columns, origin }: Figure): string {
  const rows = Math.ceil(panels.length / columns);
  const panelHeightPx = Math.max(...panels.map((panel) => panel.heightPx));
  const width = figureWidthPx + 2 * marginPx;
  const height = 2 * marginPx + headPx + rows * panelHeightPx + (rows - 1) * gapPx + footPx;
  const places = panels.map(({ svg, widthPx }, i) => {
    const x = marginPx + (i % columns) * (widthPx + gapPx);
    const y = marginPx + headPx + Math.floor(i / columns) * (panelHeightPx + gapPx);
    return html`<g transform="translate(${round(x)},${round(y)})">${trusted(svg)}</g>\n`;
  });
  const measured = [...computers(origin), ...valuesOf(origin, "date")];
  return html`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif">
<title>${title}</title>
<desc>${says}</desc>
<style>${trusted(themes)}</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="10" fill="var(--paper)" stroke="var(--line)"/>
<text x="${marginPx + 3}" y="${marginPx + 16}" font-size="17" font-weight="600" fill="var(--ink)">${title}</text>
${places}<text x="${marginPx + 3}" y="${height - marginPx}" font-size="11.5" fill="var(--muted)">${measured.join(" · ")}</text>
</svg>
`.text;
}

/** What computed: the GPUs, without their drivers' versions, or the machine where there was none. */
function computers(origin: Figure["origin"]): readonly string[] {
  const gpus = valuesOf(origin, "device").filter((device) => !device.startsWith("cpu"));
  if (gpus.length === 0) return valuesOf(origin, "machine");
  return [...new Set(gpus.map((device) => device.replace(/,[^)]*\)$/, ")")))];
}

const round = (px: number) => Math.round(px * 100) / 100;
