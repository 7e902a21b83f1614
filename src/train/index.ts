/** Training runs in folders: the loop, schedules, checkpoints and metrics. For Node. */
export * from "./checkpoint.ts";
export * from "./config.ts";
export * from "./data.ts";
export * from "./errors.ts";
export * from "./evaluate.ts";
export * from "./load.ts";
export * from "./loop.ts";
export * from "./metrics.ts";
export * from "./run.ts";
export * from "./schedule.ts";
