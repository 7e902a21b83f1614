import { h } from "../ui/dom.ts";
import { milliseconds, tokens } from "../ui/format.ts";
import { type DeviceKind, type DeviceResult, deviceLabels, type Point } from "./result.ts";

/** What it comes to at the longest T where both were measured. */
export function sentenceOf(device: DeviceKind, points: readonly Point[]): string[] {
  const sum = (point: Point) => point.forwardMs + point.backwardMs;
  const dense = points.filter((point) => point.pattern === "dense").at(-1);
  const sparse = points.find((point) => point.pattern !== "dense" && point.T === dense?.T);
  if (!dense || !sparse) return [];
  const share = (100 * sparse.visibleShare).toFixed(1);
  return [
    `${deviceLabels[device]} at ${tokens(dense.T)} tokens: ${sparse.pattern} takes ${milliseconds(sum(sparse))}, dense ${milliseconds(sum(dense))}: ${(sum(dense) / sum(sparse)).toFixed(1)} times as fast, with ${share} % of the pairs.`,
  ];
}

/** All times, and what is known of each. */
export function tableOf(devices: readonly DeviceResult[]): HTMLElement {
  const rows = devices.flatMap(({ device, points }) => points.map((point) => ({ device, point, all: points })));
  const cells = ({ device, point, all }: (typeof rows)[number]) => {
    const dense = all.find(({ T, pattern }) => T === point.T && pattern === "dense");
    const total = point.forwardMs + point.backwardMs;
    const ratio = dense && point !== dense ? `${((dense.forwardMs + dense.backwardMs) / total).toFixed(1)}×` : "-";
    return [
      point.pattern,
      tokens(point.T),
      milliseconds(point.forwardMs),
      milliseconds(point.backwardMs),
      ratio,
      `${(100 * point.visibleShare).toFixed(1)} %`,
      point.dtype,
      point.worstDifference.toExponential(1),
    ].map((text, i) => (i === 0 ? h("td", {}, `${deviceLabels[device]}, ${text}`) : h("td", {}, text)));
  };
  const heads = ["", "T", "forward", "backward", "speed-up", "pairs", "type", "difference from float64"];
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...heads.map((text) => (text === "" ? h("td", {}) : h("th", { scope: "col" }, text))))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...cells(row)))),
  );
}
