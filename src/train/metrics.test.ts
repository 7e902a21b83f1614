import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DataError } from "../errors.ts";
import { type Metric, MetricsWriter, readMetrics } from "./metrics.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "scfa-metrics-"));
  path = join(folder, "metrics.jsonl");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const metric = (step: number): Metric => ({
  step,
  tokens: step * 10,
  loss: 1 / step,
  lr: 1e-3,
  gradNorm: 0.5,
  stepMs: 1.5,
  tokensPerS: 100,
  elapsedMs: step,
  ...(step % 2 === 0 ? { valLoss: 3, visibleShare: 0.25 } : {}),
});

function write(steps: readonly number[], lastStep: number): void {
  const writer = new MetricsWriter(path, { lastStep });
  for (const step of steps) writer.append(metric(step));
  writer.flush();
  writer.close();
}

describe("metrics.jsonl", () => {
  it("gives back what was written, and nothing where there is no file", () => {
    expect(readMetrics(path)).toEqual([]);
    write([1, 2, 3], 0);
    expect(readMetrics(path)).toEqual([1, 2, 3].map(metric));
  });

  it.each([
    [5, [1, 2, 3]],
    [3, [1, 2, 3]],
    [2, [1, 2]],
    [0, []],
  ])("opened after step %i keeps the lines of steps %j", (lastStep, kept) => {
    write([1, 2, 3], 0);
    write([], lastStep);
    expect(readMetrics(path)).toEqual(kept.map(metric));
  });

  it("loses a last line that was cut short, at any place", () => {
    write([1, 2], 0);
    const whole = readFileSync(path);
    const firstLine = whole.indexOf("\n") + 1;
    for (let end = firstLine; end < whole.length; end++) {
      writeFileSync(path, whole.subarray(0, end));
      expect(readMetrics(path)).toEqual([metric(1)]);
    }
    write([2], 1);
    expect(readFileSync(path).equals(whole)).toBe(true);
  });

  it.each([
    ["no JSON", "step 1\n", "line 1"],
    ["another object", '{"step":1}\n', "line 1, at tokens"],
    ["random bytes", Buffer.from([0xff, 0x00, 0x80, 0x0a]), "line 1"],
    ["a lie about a number", `${JSON.stringify({ ...metric(1), loss: "low" })}\n`, "line 1, at loss"],
  ])("with %s is a DataError that names the line, and is left as it is", (_, content, place) => {
    writeFileSync(path, content);
    for (const read of [() => readMetrics(path), () => new MetricsWriter(path, { lastStep: 9 })]) {
      expect(read).toThrow(DataError);
      expect(read).toThrow(`${path}: ${place}`);
    }
    expect(readFileSync(path).equals(Buffer.from(content))).toBe(true);
  });

  it("that is a folder or an endless device is a DataError", () => {
    mkdirSync(path);
    expect(() => readMetrics(path)).toThrow(DataError);
    rmSync(path, { recursive: true });
    symlinkSync("/dev/full", path);
    expect(() => readMetrics(path)).toThrow("this is not a regular file");
    expect(() => new MetricsWriter(path, { lastStep: 0 })).toThrow("this is not a regular file");
  });
});
