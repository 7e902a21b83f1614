import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tinyConfig, tinyData } from "../../test/train/fixture.ts";
import type { Device } from "../device/device.ts";
import { DataError } from "../errors.ts";
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
  { stopAfter, device = openReferenceDevice({ precision: "f32" }) }: { stopAfter?: number; device?: Device } = {},
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
    const pinned = { 1: 3.34616, 10: 2.370164, 20: 1.454197, 30: 1.207087, 40: 0.968623 };
    for (const [step, loss] of Object.entries(pinned)) {
      expect(metrics[Number(step) - 1]!.loss, `step ${step}`).toBeCloseTo(loss, 5);
    }
    expect(metrics[19]!.valLoss).toBeGreaterThan(metrics[39]!.valLoss!);
    expect(metrics[39]!.visibleShare).toBeGreaterThan(0.2);
    expect(metrics[39]!.visibleShare).toBeLessThan(0.8);
    expect(result).toEqual({ step: 40, finished: true, checkpoint: join(run.checkpoints, "step-00000040") });
    expect(memory, "bytes still held by the device").toBe(0);
  });

  it("stopped and resumed, gives the losses and parameters of a run that never stopped, bit for bit", async () => {
    const config = tinyConfig({ model: { attention: "drop(0.3):1 hash(2):1" }, train: { accumulate: 2 } });
    const straight = await newRun(config, "straight");
    await go(straight);
    const resumed = await newRun(config, "resumed");
    for (const stopAfter of [2, 7, 8]) {
      const { result } = await go(resumed, { stopAfter });
      expect(result).toMatchObject({ step: stopAfter, finished: false });
    }
    const { events } = await go(await openRun(resumed.folder));
    expect(events[0]).toMatchObject({
      type: "start",
      step: 8,
      resumedFrom: join(resumed.checkpoints, "step-00000008"),
    });
    expect(losses(resumed)).toEqual(losses(straight));
    for (const file of ["model.safetensors", "optimizer.safetensors"]) {
      const bytes = (run: Run) => readFileSync(join(run.checkpoints, "step-00000012", file));
      expect(bytes(resumed).equals(bytes(straight)), file).toBe(true);
    }
  });

  it("takes up a run whose last line of metrics was cut short, or is ahead of the checkpoint", async () => {
    const run = await newRun(tinyConfig());
    await go(run, { stopAfter: 5 });
    const expected = losses(run);
    const ahead = { ...readMetrics(run.metricsPath)[4]!, step: 6, loss: 99 };
    writeFileSync(run.metricsPath, `${JSON.stringify(ahead)}\n{"step":7,"lo`, { flag: "a" });
    expect(losses(run)).toHaveLength(6);
    await go(run);
    expect(losses(run).slice(0, 5)).toEqual(expected);
    expect(losses(run).map(({ step }) => step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(losses(run)[5]!.loss).toBeLessThan(9);
  });

  it("keeps the newest checkpoints and the last", async () => {
    const run = await newRun(tinyConfig({ train: { steps: 10, keepCheckpoints: 2 } }));
    await go(run);
    expect((await listCheckpoints(run.checkpoints)).map(({ step }) => step)).toEqual([10, 9]);
  });

  it("does nothing to a finished run", async () => {
    const run = await newRun(tinyConfig({ train: { steps: 3 } }));
    const { result } = await go(run);
    const before = readFileSync(run.metricsPath);
    expect((await go(run)).result).toEqual(result);
    expect(readFileSync(run.metricsPath).equals(before)).toBe(true);
  });

  it("has the same training losses however often it evaluates", async () => {
    const often = await newRun(tinyConfig({ train: { evalEvery: 1 } }), "often");
    const never = await newRun(tinyConfig({ train: { evalBatches: 0 } }), "never");
    await go(often);
    await go(never);
    const trainLosses = (run: Run) => losses(run).map(({ loss }) => loss);
    expect(trainLosses(often)).toEqual(trainLosses(never));
    expect(losses(often).every(({ valLoss }) => valLoss !== undefined)).toBe(true);
    expect(losses(never).every(({ valLoss }) => valLoss === undefined)).toBe(true);
  });
});

describe("a broken checkpoint", () => {
  /** A run stopped after step 5, with checkpoints of steps 3 and 5. */
  async function stoppedRun(): Promise<Run> {
    const run = await newRun(tinyConfig());
    await go(run, { stopAfter: 5 });
    return run;
  }
  const newest = (run: Run, file: string) => join(run.checkpoints, "step-00000005", file);

  it.each<[string, (run: Run) => void]>([
    ["with its model cut short", (run) => truncateSync(newest(run, "model.safetensors"), 1000)],
    ["with one byte changed", (run) => flipByte(newest(run, "optimizer.safetensors"), 5000)],
    ["with a changed state", (run) => flipByte(newest(run, "state.json"), 30)],
    ["with a file missing", (run) => rmSync(newest(run, "state.json"))],
    ["with random bytes for checksums", (run) => writeFileSync(newest(run, "checksums.json"), Buffer.alloc(64, 0x9f))],
  ])("%s is passed over with a message, and the run goes on from the one before", async (_, harm) => {
    const straight = await newRun(tinyConfig(), "straight");
    await go(straight);
    const run = await stoppedRun();
    harm(run);
    const { events } = await go(run);
    expect(messages(events)).toHaveLength(1);
    expect(messages(events)[0]).toContain(`The checkpoint ${join(run.checkpoints, "step-00000005")} is passed over.`);
    expect(events.find(({ type }) => type === "start")).toMatchObject({ step: 3 });
    expect(losses(run)).toEqual(losses(straight));
  });

  it("of later steps is removed once the run has a newer good one", async () => {
    const run = await stoppedRun();
    flipByte(newest(run, "state.json"), 30);
    await go(run, { stopAfter: 4 });
    expect((await listCheckpoints(run.checkpoints)).map(({ step }) => step)).toEqual([4, 3]);
  });

  it("and no good one is an error, not a new beginning", async () => {
    const run = await stoppedRun();
    for (const { path } of await listCheckpoints(run.checkpoints)) flipByte(join(path, "state.json"), 30);
    await expect(go(run)).rejects.toThrow("none of 2 is whole");
    expect(losses(run)).toHaveLength(5);
  });

  it("of another model is an error that names it", async () => {
    const run = await stoppedRun();
    const other = { ...run, config: tinyConfig({ model: { biases: true } }) };
    await expect(go(other)).rejects.toThrow("its model is not the one of the run's config.json");
  });
});

describe("a run that diverges", () => {
  it("stops in the step with the bad batch, keeps the state before it, and can go on from there", async () => {
    const run = await newRun(tinyConfig());
    const data = tinyData();
    const poisoned = {
      ...data,
      train: Object.assign(Object.create(data.train), {
        async sample(options: Parameters<typeof data.train.sample>[0]) {
          const batch = await data.train.sample(options);
          // Outside the vocabulary: the embedding answers with NaN.
          if (options.step === 4) batch.tokens[5] = 1000;
          return batch;
        },
      }),
    };
    const device = openReferenceDevice({ precision: "f32" });
    const error = await train({ run, device, data: poisoned }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DivergedError);
    expect((error as Error).message).toBe(
      `train: the loss must be finite, got NaN in step 5. The last good state is kept in ${join(run.checkpoints, "step-00000004")}. Lower the learning rate or clip more, and start again from there.`,
    );
    expect(losses(run).map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    await go(run);
    const straight = await newRun(tinyConfig(), "straight");
    await go(straight);
    expect(losses(run)).toEqual(losses(straight));
  });

  it("by a learning rate far too high keeps a checkpoint of finite values", async () => {
    const run = await newRun(
      tinyConfig({ train: { lr: 1e25, schedule: "constant", warmupShare: 0, checkpointEvery: 1 } }),
    );
    await expect(go(run)).rejects.toThrow(DivergedError);
    for (const { loss, gradNorm } of readMetrics(run.metricsPath)) expect(Number.isFinite(loss + gradNorm)).toBe(true);
  });
});

describe("what does not fit together is one sentence", () => {
  it.each<[string, Parameters<typeof tinyConfig>[0], string]>([
    [
      "T longer than the model",
      { train: { context: 17 } },
      "train.context: it must be at most the model's context of 16, got 17.",
    ],
    [
      "a vocabulary too small",
      { model: { vocabulary: 26 } },
      "model.vocabulary: it must be at least 27, the tokens of train.bin, got 26.",
    ],
    [
      "a type the device lacks",
      { train: { dtype: "bf16" } },
      "train.dtype: it must be one of f32 on reference (float32, one thread), got bf16.",
    ],
    [
      "a text too short",
      { model: { context: 4096 } },
      "train.bin: length: there are too few tokens for a sequence of 4096 and its targets.",
    ],
  ])("%s", async (_, options, message) => {
    const run = await newRun(tinyConfig(options));
    await expect(go(run)).rejects.toThrow(message);
  });

  it("a run in a folder that holds one", async () => {
    const run = await newRun(tinyConfig());
    await expect(createRun(run.folder, tinyConfig())).rejects.toThrow("the folder holds a run. Resume it, or");
  });
});

describe("where nothing can be written", () => {
  it("a folder below a file is one sentence that names it", async () => {
    writeFileSync(join(folder, "file"), "");
    await expect(newRun(tinyConfig(), "file/run")).rejects.toThrow(/file\/run: create the folder: .* \(ENOTDIR\)/);
  });

  const canMount =
    spawnSync("sh", ["-c", "d=$(mktemp -d) && mount -t tmpfs none $d && umount $d; rmdir $d"]).status === 0;
  it.skipIf(!canMount)(
    "a disk that fills up stops the run with one sentence and leaves what was there (needs mount)",
    async () => {
      const disk = join(folder, "disk");
      mkdirSync(disk);
      // A checkpoint of the tiny run has some 190 kB: the second fits, the third does not.
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=500k", "none", disk]);
      try {
        const run = await createRun(join(disk, "run"), tinyConfig({ train: { keepCheckpoints: 9 } }));
        const error = await go(run).catch((e: unknown) => e);
        expect(error).toBeInstanceOf(DataError);
        expect((error as Error).message).toMatch(/the disk is full \(ENOSPC\)\. Free some space/);
        const kept = (await listCheckpoints(run.checkpoints)).map(({ step }) => step);
        expect(kept[0]).toBeGreaterThanOrEqual(3);
        execFileSync("mount", ["-o", "remount,size=9m", disk]);
        const { events } = await go(run);
        expect(messages(events)).toEqual([]);
        expect(events[0]).toMatchObject({ type: "start", step: kept[0] });
        expect(losses(run)).toHaveLength(12);
      } finally {
        execFileSync("umount", [disk]);
      }
    },
  );
});

function flipByte(path: string, place: number): void {
  const bytes = readFileSync(path);
  bytes[place] = bytes[place]! ^ 0x10;
  writeFileSync(path, bytes);
}
