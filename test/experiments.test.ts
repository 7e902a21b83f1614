import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error: experiments are plain JavaScript
import { recallTask } from "../experiments/recall/task.mjs";
import { uniformAt } from "../src/rng.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "scfa-experiments-"));
  const tokens = Uint16Array.from({ length: 4000 }, (_, i) => Math.floor(50257 * uniformAt(1, 0, i)));
  for (const name of ["train.bin", "val.bin"]) writeFileSync(join(folder, name), tokens);
  writeFileSync(join(folder, "text"), "It was the best of times, it was the worst of times. ".repeat(80));
  for (const name of ["train", "t10k"]) {
    const idx = Buffer.alloc(16 + 4 * 784, 7);
    for (const [n, word] of [0x803, 4, 28, 28].entries()) idx.writeUInt32BE(word, 4 * n);
    writeFileSync(join(folder, `${name}-images-idx3-ubyte`), idx);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The lines that an experiment records. */
function linesOf(experiment: string, args: readonly string[]): Record<string, unknown>[] {
  const out = join(folder, `${experiment}.jsonl`);
  const script = join(import.meta.dirname, `../experiments/${experiment}/run.mjs`);
  rmSync(out, { force: true });
  execFileSync(process.execPath, [script, "--device", "cpu", "--out", out, ...args], { cwd: folder, stdio: "pipe" });
  return readFileSync(out, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

describe("recallTask", () => {
  const options = { T: 200, facts: 20, seed: 5, count: 6 };

  it("asks for each fact once, at the distance that it says, and wants nothing else", async () => {
    const { tokens, targets, questions } = await recallTask(options).sequential({ B: 4, index: 0 });
    for (const [b, asked] of questions.entries()) {
      const row = [...tokens.subarray(b * 200, (b + 1) * 200)];
      const wanted = [...targets.subarray(b * 200, (b + 1) * 200)];
      expect(asked.length).toBe(20);
      expect(wanted.filter((target) => target !== -1).length).toBe(20);
      for (const { at, answer, distance } of asked) {
        expect(wanted[at]).toBe(answer);
        expect(row.indexOf(row[at]!)).toBe(at - distance);
        expect(row[at - distance + 1]).toBe(answer);
      }
    }
  });

  it("asks in a lesson wherever a key has stood before, and shows the same value there", async () => {
    const lesson = recallTask({ T: 40, facts: 5, isLesson: true, seed: 5, count: 6 });
    const { tokens, targets, questions } = await lesson.sequential({ B: 4, index: 0 });
    for (const [b, asked] of questions.entries()) {
      const row = [...tokens.subarray(b * 40, (b + 1) * 40)];
      const again = row.flatMap((token, at) => (at % 2 === 0 && row.indexOf(token) < at ? [at] : []));
      expect(asked.map(({ at }: { at: number }) => at)).toEqual(again);
      for (const { at, answer, distance } of asked) {
        expect([row[at - distance], row[at - distance + 1], row[at + 1]]).toEqual([row[at], answer, answer]);
        expect(targets[b * 40 + at]).toBe(answer);
      }
    }
  });

  it("draws equal sequences for equal seeds, steps and rows, and others for others", async () => {
    const sample = async (seed: number, step: number, firstRow: number) =>
      (await recallTask({ ...options, seed }).sample({ B: 1, step, firstRow })).tokens;
    expect(await sample(1, 2, 3)).toEqual(
      (await recallTask({ ...options, seed: 1 }).sample({ B: 4, step: 2 })).tokens.slice(600),
    );
    const others = await Promise.all([sample(1, 2, 3), sample(2, 2, 3), sample(1, 3, 3), sample(1, 2, 4)]);
    expect(new Set(others.map((tokens: Int32Array) => tokens.join())).size).toBe(4);
  });
});

describe("experiments, as small as they can be", () => {
  const small = ["--layers", "1", "--context", "128"];
  it.each<[string, readonly string[], readonly string[], readonly string[]]>([
    ["language", [...small, "--data", ".", "--width", "192", "--tokens", "128", "--steps", "1"], ["hash 16"], []],
    ["long", [...small, "--data", ".", "--width", "192", "--seconds", "0.01", "--school", "0"], ["dense"], ["probe"]],
    [
      "bytes",
      [...small, "--text", "text", "--width", "128", "--tokens", "128", "--steps", "1"],
      ["dense", "window"],
      ["bitsPerByte"],
    ],
    [
      "images",
      ["--images", ".", "--layers", "1", "--width", "64", "--batch", "2", "--steps", "1"],
      ["window + hash"],
      ["bitsPerDim"],
    ],
    [
      "recall",
      ["--school", "64", "--contexts", "128", "--tokens", "128", "--steps", "1", "--tests", "1"],
      ["window", "shared keys"],
      ["accuracy", "byDistance"],
    ],
  ])(
    "%s records a line for each run, with its origin",
    (experiment, args, runs, own) => {
      const lines = linesOf(experiment, [...args, ...runs]);
      const done = lines.map(({ run }) => run as string).filter((run) => !run.startsWith("school"));
      expect(done).toEqual(runs);
      for (const line of lines) {
        expect(line).toMatchObject({
          experiment,
          step: 1,
          valLoss: expect.any(Number),
          visibleShare: expect.any(Number),
        });
        for (const name of ["machine", "device", "commit", "date", "attention", "stepMs", ...own]) {
          expect(line, name).toHaveProperty(name);
        }
      }
    },
    120_000,
  );

  it("long goes to school first, and counts on from there", () => {
    const times = ["--seconds", "0.02", "--school", "64"];
    const lines = linesOf("long", [...small, "--data", ".", "--width", "192", ...times, "window + hash"]);
    const last = lines.filter(({ context }) => context === 128).at(-1)!;
    const school = lines.filter(({ context }) => context === 64).at(-1)!;
    expect(lines.length).toBe(2);
    expect(last).toHaveProperty("probe");
    expect(school).not.toHaveProperty("probe");
    // Two sequences of 64 tokens a step, then one of 128.
    for (const line of [school, last]) expect(line.tokens).toBe(128 * (line.step as number));
    expect(last.step).toBeGreaterThan(school.step as number);
    expect(last.elapsedMs).toBeGreaterThanOrEqual(20);
  });

  it("say which runs there are when they are asked for another", () => {
    expect(() => linesOf("recall", ["nothing"])).toThrow(/There is no run nothing\. Runs: window, window \+ dense/);
  });
});
