import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tinyConfig, tinyData } from "../../test/train/fixture.ts";
import { DataError, UnsupportedError } from "../errors.ts";
import { generate } from "../gpt/sampling.ts";
import { openReferenceDevice } from "../reference/device.ts";
import { exportHuggingFace, importHuggingFace, loadModel } from "./load.ts";
import { train } from "./loop.ts";
import { createRun, openRun } from "./run.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "scfa-load-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const device = openReferenceDevice({ precision: "f32" });
const gpt2 = tinyConfig({
  model: { sharedQK: false, attention: "dense", biases: true },
  train: { steps: 3, evalBatches: 0 },
});

async function collect(tokens: AsyncIterable<number>): Promise<number[]> {
  const all: number[] = [];
  for await (const token of tokens) all.push(token);
  return all;
}

describe("loadModel", () => {
  it("gives the trained model, ready to sample", async () => {
    const run = await createRun(
      join(folder, "run"),
      tinyConfig({ model: { attention: "window(8)" }, train: { steps: 60, evalBatches: 0, checkpointEvery: 0 } }),
    );
    await train({ run, device, data: tinyData() });
    const { parameters, state, path } = await loadModel(await openRun(run.folder), device);
    expect(state.step).toBe(60);
    expect(path).toBe(join(run.checkpoints, "step-00000060"));
    const codes = [..."the qui"].map((c) => (c === " " ? 26 : c.charCodeAt(0) - 97));
    const made = await collect(generate(parameters, codes, { count: 2, temperature: 0 }));
    expect(made.map((code) => String.fromCharCode(97 + code)).join("")).toBe("ck");
  });

  it("says that a run has no checkpoint yet", async () => {
    const run = await createRun(join(folder, "run"), tinyConfig());
    await expect(loadModel(run, device)).rejects.toThrow("the run has no checkpoint yet. Train it first.");
  });
});

describe("openRun", () => {
  it.each([
    ["", "JSON"],
    ["{}", "config.json: at model"],
    [
      '{"model":{"layers":1,"heads":3,"width":32,"vocabulary":9,"context":8},"train":{},"data":{"folder":"d"}}',
      "width",
    ],
  ])("answers the configuration %j with a DataError", async (text, message) => {
    writeFileSync(join(folder, "config.json"), text);
    const error = await openRun(folder).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toContain(message);
  });
});

describe("Hugging Face's GPT-2 as files", () => {
  it("exports a run, imports it, and goes on training from it", async () => {
    const run = await createRun(join(folder, "run"), gpt2);
    await train({ run, device, data: tinyData() });
    const { parameters } = await loadModel(run, device);
    const target = join(folder, "exported");
    await exportHuggingFace(target, parameters);
    expect(readdirSync(target).sort()).toEqual(["config.json", "model.safetensors"]);
    expect(JSON.parse(readFileSync(join(target, "config.json"), "utf8"))).toMatchObject({ n_layer: 1, vocab_size: 28 });

    const imported = await importHuggingFace(target, device);
    expect(await imported.values.read()).toEqual(await parameters.values.read());

    const next = await createRun(join(folder, "next"), gpt2);
    const initialize = async (into: typeof imported) => {
      device.ops.copy({ x: imported.values, out: into.values });
      into.refresh();
    };
    const abort = AbortSignal.abort();
    await train({ run: next, device, data: tinyData(), initialize, signal: abort });
    const { parameters: kept, state } = await loadModel(next, device);
    expect(state.step).toBe(0);
    expect(await kept.values.read()).toEqual(await parameters.values.read());
    await expect(exportHuggingFace(target, parameters)).rejects.toThrow("it already exists and is not empty");
  });

  it("leaves no folder behind when the model cannot be exported", async () => {
    const run = await createRun(join(folder, "run"), tinyConfig({ train: { steps: 1 } }));
    await train({ run, device, data: tinyData() });
    const { parameters } = await loadModel(run, device);
    await expect(exportHuggingFace(join(folder, "exported"), parameters)).rejects.toThrow(UnsupportedError);
    expect(readdirSync(folder)).toEqual(["run"]);
  });

  it("answers a damaged folder with a DataError", async () => {
    await expect(importHuggingFace(folder, device)).rejects.toThrow(DataError);
    const run = await createRun(join(folder, "run"), { ...gpt2, train: { ...gpt2.train, steps: 1 } });
    await train({ run, device, data: tinyData() });
    const target = join(folder, "exported");
    await exportHuggingFace(target, (await loadModel(run, device)).parameters);
    truncateSync(join(target, "model.safetensors"), 3000);
    await expect(importHuggingFace(target, device)).rejects.toThrow(DataError);
    writeFileSync(join(target, "config.json"), '{"model_type":"gpt2"}');
    await expect(importHuggingFace(target, device)).rejects.toThrow("config.json");
  });
});
