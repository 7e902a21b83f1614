import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DataError } from "../errors.ts";
import { renderReport } from "./page.ts";
import { parseMetrics, readRun } from "./readRun.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "scfa-report-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const write = (name: string, text: string | Uint8Array) => writeFile(join(folder, name), text);
const line = (step: number) => JSON.stringify({ step, tokens: step * 10, loss: 3, tokensPerS: 5, elapsedMs: step });

describe("parseMetrics", () => {
  test("a half-written last line is left out and named", () => {
    const { metrics, skipped } = parseMetrics(`${line(1)}\n${line(2)}\n${line(3).slice(0, 20)}`);
    expect(metrics.map((m) => m.step)).toEqual([1, 2]);
    expect(skipped).toEqual([3]);
  });

  test("of two lines for one step the later counts", () => {
    const again = JSON.stringify({ step: 2, tokens: 20, loss: 1 });
    const { metrics } = parseMetrics([line(1), line(2), line(3), again].join("\n"));
    expect(metrics.map((m) => m.loss)).toEqual([3, 1, 3]);
  });

  test("fields it does not know are passed over, values of a wrong kind are not", () => {
    const { metrics, skipped } = parseMetrics(
      '{"step":1,"tokens":1,"loss":2,"new":[1]}\n{"step":2,"tokens":1,"loss":"2"}',
    );
    expect(metrics).toEqual([{ step: 1, tokens: 1, loss: 2 }]);
    expect(skipped).toEqual([2]);
  });

  test("any text gives metrics or skipped lines, never a failure", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.json(), fc.constant(line(1)))), (lines) => {
        const text = lines.join("\n");
        const { metrics, skipped } = parseMetrics(text);
        expect(metrics.length + skipped.length).toBeLessThanOrEqual(text.split("\n").length);
      }),
    );
  });
});

describe("readRun", () => {
  test("reads a run folder", async () => {
    await write("config.json", '{"model":{"attention":"hash(16)"}}');
    await write("metrics.jsonl", `${line(1)}\n${line(2)}\n`);
    await write("run.json", '{"parameters":12,"tokenizer":"bytes"}');
    const run = await readRun(folder);
    expect(run).toMatchObject({ details: { parameters: 12, tokenizer: "bytes" }, notes: [] });
    expect(run.metrics).toHaveLength(2);
  });

  test("a folder that is no run, and a config that is no object, name the file", async () => {
    await expect(readRun(join(folder, "none"))).rejects.toThrow(/none.config\.json: open: no such file/);
    await write("config.json", "[1]");
    await write("metrics.jsonl", "");
    await expect(readRun(folder)).rejects.toThrow(DataError);
  });

  test("a run.json that lies is passed over with a note", async () => {
    await write("config.json", "{}");
    await write("metrics.jsonl", line(1));
    const outOfRange = { qRows: [0, 1], kRows: [0, 1], lo: [0, 0], hi: [1, 9] };
    await write("run.json", JSON.stringify({ heads: [{ label: "x", staircases: [outOfRange] }] }));
    const { details, notes } = await readRun(folder);
    expect(details).toEqual({});
    expect(notes.join()).toMatch(/run\.json: not used, heads/);
  });

  test("random bytes in any of its files give a report or a DataError", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("config.json", "metrics.jsonl", "run.json"),
        fc.uint8Array({ maxLength: 300 }),
        async (file, bytes) => {
          await write("config.json", "{}");
          await write("metrics.jsonl", line(1));
          await write("run.json", "{}");
          await write(file, bytes);
          try {
            await readRun(folder);
          } catch (error) {
            expect(error).toBeInstanceOf(DataError);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test("a run that has just begun makes a page that says so", async () => {
    await write("config.json", "{}");
    await write("metrics.jsonl", "");
    const page = await renderReport([await readRun(folder)]);
    expect(page.includes("None of these runs has finished a step yet.")).toBe(true);
  });
});
