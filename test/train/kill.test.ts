import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openReferenceDevice } from "../../src/reference/device.ts";
import { uniformAt } from "../../src/rng.ts";
import { newestGood } from "../../src/train/checkpoint.ts";
import { train } from "../../src/train/loop.ts";
import { readMetrics } from "../../src/train/metrics.ts";
import { createRun } from "../../src/train/run.ts";
import { killConfig, tinyData } from "./fixture.ts";

const KILLS = 24;

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "scfa-kill-"));
  await build({
    configFile: false,
    logLevel: "silent",
    ssr: { noExternal: true },
    build: { ssr: join(import.meta.dirname, "child.ts"), outDir: join(folder, "bin"), minify: false },
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function startChild(run: string): ChildProcess {
  const [script] = readdirSync(join(folder, "bin")).filter((name) => name.startsWith("child"));
  return spawn(process.execPath, [join(folder, "bin", script!), run], { stdio: ["ignore", "pipe", "inherit"] });
}

/** Kills the process some milliseconds after it began to train, or even to start; false if it ended before. */
async function killAfter(child: ChildProcess, { ms, starting }: { ms: number; starting: boolean }): Promise<boolean> {
  const ended = once(child, "exit");
  if (!starting) await Promise.race([once(child.stdout!, "data"), ended]);
  await Promise.race([wait(ms), ended]);
  child.kill("SIGKILL");
  const [, signal] = await ended;
  return signal === "SIGKILL";
}

const losses = (path: string) => readMetrics(path).map(({ step, loss, valLoss }) => ({ step, loss, valLoss }));

describe("kill -9", () => {
  it(`at ${KILLS} random moments loses nothing older, and the losses are those of a run that never stopped`, async () => {
    const straight = await createRun(join(folder, "straight"), killConfig());
    await train({ run: straight, device: openReferenceDevice({ precision: "f32" }), data: tinyData() });

    const run = join(folder, "killed");
    let kills = 0;
    let before = 0;
    for (let n = 0; kills < KILLS && n < 4 * KILLS; n++) {
      // Seeded, so that a failure can be had again, as far as the machine's own timing allows.
      const starting = n % 4 === 0;
      const ms = (starting ? 300 : 60) * uniformAt(1, 0, n);
      if (!(await killAfter(startChild(run), { ms, starting }))) {
        rmSync(run, { recursive: true });
        before = 0;
        continue;
      }
      kills++;
      const good = await newestGood(join(run, "checkpoints"));
      const step = good?.state.step ?? 0;
      expect(step, "the step of the newest good checkpoint").toBeGreaterThanOrEqual(before);
      expect(readMetrics(join(run, "metrics.jsonl")).length).toBeGreaterThanOrEqual(step);
      before = step;
    }
    expect(kills).toBe(KILLS);

    const [code] = await once(startChild(run), "exit");
    expect(code).toBe(0);
    expect(losses(join(run, "metrics.jsonl"))).toEqual(losses(straight.metricsPath));
    expect(readdirSync(join(run, "checkpoints")).sort()).toEqual(["step-00000058", "step-00000059", "step-00000060"]);
  });
});
