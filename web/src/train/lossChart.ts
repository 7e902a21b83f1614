import type { ChartContent, Series } from "../ui/chart.ts";
import { thousands } from "../ui/format.ts";
import type { LaneHistory } from "./race.ts";
import { attentionOf, type LaneName, laneNames, type TrainSettings } from "./settings.ts";

/** The lanes' colours, in the chart and on their cards. */
export const laneColors: Readonly<Record<LaneName, string>> = { dense: "var(--run0)", sparse: "var(--run1)" };

/** Both lanes' training losses, against the time that each has spent or against its steps. */
export function lossChart(
  histories: Readonly<Record<LaneName, LaneHistory | null>>,
  { settings, byTime }: { settings: TrainSettings; byTime: boolean },
): ChartContent {
  const last = laneNames.flatMap((name) => {
    const losses = histories[name]?.losses ?? [];
    return losses.length === 0 ? [] : [`${name} ${losses.at(-1)!.toFixed(2)} after ${losses.length} steps`];
  });
  return {
    label: `Training loss. ${last.join(", ") || "No step is taken yet."}`,
    x: { title: byTime ? "seconds spent on each" : "steps", isLog: false, format: thousands },
    y: { title: "loss, nats a byte", isLog: false, format: (value) => value.toFixed(1) },
    series: laneNames.flatMap((lane) => {
      const name = lane === "dense" ? "dense" : `sparse: ${attentionOf(lane, settings)}`;
      return lossLines(histories[lane], { byTime, name, color: laneColors[lane] });
    }),
  };
}

/** A lane's losses, and in bold their mean over the last few. */
function lossLines(
  history: LaneHistory | null,
  { byTime, name, color }: { byTime: boolean; name: string; color: string },
): Series[] {
  const losses = history?.losses ?? [];
  const raw: [number, number][] = [];
  const smooth: [number, number][] = [];
  let spentMs = 0;
  let mean = 0;
  for (const [i, loss] of losses.entries()) {
    spentMs += history!.stepMs[i]!;
    // A running mean that remembers some ten steps, and fewer at the start, where the loss falls fast.
    mean += (loss - mean) / Math.min(1 + i / 8, 10);
    const x = byTime ? spentMs / 1000 : i + 1;
    raw.push([x, loss]);
    smooth.push([x, mean]);
  }
  return [
    { name, color, points: thin(raw), isFaint: true },
    { name, color, points: thin(smooth) },
  ];
}

/** Few enough points to draw at every step. */
function thin<P>(points: readonly P[]): P[] {
  const every = Math.max(1, Math.ceil(points.length / 500));
  return points.filter((_, i) => i % every === 0 || i === points.length - 1);
}
