export { drawGrid, drawStaircase, visibilityGrid } from "./attentionPicture.ts";
export { type ReportOptions, renderReport } from "./page.ts";
export type { HeadPicture, Run, RunDetails, RunMetric } from "./run.ts";
export { type RunSummary, type Summary, summarise } from "./summary.ts";
