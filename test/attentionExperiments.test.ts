import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "scfa-experiments-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The lines that an experiment appends, at sizes of a test. */
function run(name: string, ...args: string[]) {
  const out = join(folder, `${name}.jsonl`);
  const command = [`experiments/${name}/run.mjs`, "--device", "cpu", "--out", out, ...args];
  const { status, stderr } = spawnSync(process.execPath, command, { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const lines = readFileSync(out, "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line) as Record<string, number | string>);
}

test("runtime: each pattern's times and pairs, on a named machine at a named commit", () => {
  const lines = run("runtime", "--steps", "ours", "--batch", "1", "--heads", "2", "--lengths", "128");
  expect(lines.map(({ pattern }) => pattern)).toHaveLength(12);
  for (const line of lines) {
    expect(line).toMatchObject({
      who: "scfa",
      T: 128,
      B: 1,
      H: 2,
      machine: expect.any(String),
      date: expect.any(String),
    });
    expect(line["forwardMs"]).toBeGreaterThan(0);
    expect(line["backwardMs"]).toBeGreaterThan(0);
  }
  const pairs = Object.fromEntries(lines.map(({ pattern, pairs }) => [pattern, pairs as number]));
  expect(pairs["dense"]).toBe((2 * 128 * 129) / 2);
  expect(pairs["hash(64)"]).toBeLessThan(pairs["hash(2)"]!);
  expect(pairs["drop(0.8)"]).toBeLessThan(pairs["drop(0.2)"]!);
});

test("reformer: chunks see no more pairs than their buckets have", () => {
  const lines = run("reformer", "--lengths", "1024");
  expect(lines).toHaveLength(6);
  for (const { pattern, coveredShare } of lines) {
    if (pattern === "hash") expect(coveredShare).toBe(1);
    else expect(coveredShare).toBeLessThanOrEqual(1);
  }
  // A bucket of vectors that are much alike is longer than two chunks.
  expect(Math.min(...lines.map(({ coveredShare }) => coveredShare as number))).toBeLessThan(1);
});
