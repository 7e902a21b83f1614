import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tinyConfig, tinyData } from "../../test/train/fixture.ts";
import type { Device } from "../device/device.ts";
import { openReferenceDevice } from "../reference/device.ts";
import { listCheckpoints } from "./checkpoint.ts";
import type { RunConfig } from "./config.ts";
import { DivergedError } from "./errors.ts";
import { type TrainEvent, train } from "./loop.ts";
import { readMetrics } from "./metrics.ts";
import { createRun, openRun, type Run } from "./run.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "scfa-train-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Trains, stopping after `stopAfter` steps if given; returns what happened. */
async function go(
  run: Run,
  { stopAfter, device = openReferenceDevice() }: { stopAfter?: number; device?: Device } = {},
) {
  const events: TrainEvent[] = [];
  const abort = new AbortController();
  const onEvent = (event: TrainEvent) => {
    events.push(event);
    if (event.type === "step" && event.metric.step === stopAfter) abort.abort();
  };
  const result = await train({ run, device, data: tinyData(), onEvent, signal: abort.signal });
  return { result, events, memory: device.memory.bytes };
}

const newRun = (config: RunConfig, name = "run") => createRun(join(folder, name), config);
const losses = (run: Run) => readMetrics(run.metricsPath).map(({ step, loss, valLoss }) => ({ step, loss, valLoss }));
const messages = (events: TrainEvent[]) => events.flatMap((event) => (event.type === "message" ? [event.text] : []));

describe("train", () => {
  it("follows the pinned loss curve of a tiny run, and writes all of it down", async () => {
    const run = await newRun(tinyConfig({ train: { steps: 40, evalEvery: 20, accumulate: 2 } }));
    const { result, memory } = await go(run);
    const metrics = readMetrics(run.metricsPath);
    expect(metrics.map(({ step }) => step)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
    expect(metrics.map(({ tokens }) => tokens)).toEqual(Array.from({ length: 40 }, (_, i) => (i + 1) * 64));
    const curve = [1, 10, 20, 30, 40].map((step) => metrics[step - 1]!.loss);
    const pinned: number[] = [];
    expect(curve).toHaveLength(5);
    for (const [i, loss] of pinned.entries()) expect(loss, `point ${i}`).toBeCloseTo(curve[i]!, 5);
    expect(metrics[19]!.valLoss).toBeGreaterThan(metrics[39]!.valLoss!);
    expect(metrics[39]!.visibleShare).toBeGreaterThan(0.2);
    expect(metrics[39]!.visibleShare).toBeLessThan(0.8);
    expect(result).toEqual({ step: 40, finished: true, checkpoint: join(run.checkpoints, "step-00000040") });
    expect(memory, "bytes still held by the device").toBe(0);
    console.log(curve);
  });
});
