import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { swiftShaderEnvironment } from "./swiftShader.ts";

// The program as it is installed: built, in a process of its own, which must end by itself. `npm test` builds first.
const program = resolve("dist/cli/main.js");

describe.skipIf(!existsSync(program) || !swiftShaderEnvironment)("training on the WebGPU device", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "scfa-webgpu-"));
    await writeFile(join(folder, "text.txt"), "Many years later, as he faced the firing squad. ".repeat(200));
    await begin("webgpu");
  }, 300_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  function begin(device: string): Promise<void> {
    const model = "--layers 1 --heads 2 --width 32 --context 64 --attention hash(4) --tokenizer bytes";
    const length = "--steps 4 --eval-every 4 --eval-batches 1 --checkpoint-every 2";
    return train(`--data text.txt --out ${device} --device ${device} ${model} ${length}`);
  }

  async function train(flags: string): Promise<void> {
    const argv = ["train", ...flags.split(" ")];
    const env = { ...process.env, ...swiftShaderEnvironment };
    await promisify(execFile)(process.execPath, [program, ...argv], { cwd: folder, env, timeout: 280_000 });
  }

  async function losses(run: string): Promise<number[]> {
    const lines = (await readFile(join(folder, run, "metrics.jsonl"), "utf8")).trim().split("\n");
    return lines.map((line) => (JSON.parse(line) as { loss: number }).loss);
  }

  test("falls, with the losses of the CPU device", async () => {
    await begin("cpu");
    const [got, expected] = [await losses("webgpu"), await losses("cpu")];
    expect(got).toHaveLength(4);
    expect(got[3]!).toBeLessThan(got[0]!);
    for (const [step, loss] of got.entries()) {
      expect(Math.abs(loss - expected[step]!) / expected[step]!, `step ${step + 1}`).toBeLessThan(1e-6);
    }
  }, 300_000);

  test("resumes bit for bit: no kernel adds in an order of its own", async () => {
    const last = join("checkpoints", "step-00000004");
    await cp(join(folder, "webgpu"), join(folder, "resumed"), { recursive: true });
    await rm(join(folder, "resumed", last), { recursive: true });
    await train("--out resumed --resume --device webgpu");
    expect(await losses("resumed")).toEqual(await losses("webgpu"));
    for (const file of ["model.safetensors", "optimizer.safetensors"]) {
      const [resumed, whole] = ["resumed", "webgpu"].map((run) => readFile(join(folder, run, last, file)));
      expect((await resumed!).equals(await whole!), file).toBe(true);
    }
  }, 300_000);
});
