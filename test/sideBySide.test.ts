import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

let folder: string;
const at = (name: string) => join(folder, name);

/** A program that prints what it is given for the T on its command line, and fails if told to. */
function fake(name: string, body: string): string {
  writeFileSync(
    at(name),
    `#!/bin/bash\nwhile [ $# -gt 0 ]; do case $1 in *.py) script=$1;; attention|train) kind=$1;; --lengths) T=$2;; esac; shift; done\n${body}\n`,
  );
  chmodSync(at(name), 0o755);
  return at(name);
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "scfa-side-by-side-"));
  fake(
    "python",
    `case $script in
      *attention_torch.py) echo '{"kernel":"torch-fa2","T":'$T',"fwd_ms":21,"bwd_ms":60}'; echo '{"kernel":"torch-cudnn","T":'$T',"fwd_ms":14,"bwd_ms":38}';;
      *hash_varlen*) echo '{"kernel":"torch-varlen-hash","buckets":16,"T":'$T',"fwd_ms":12,"bwd_ms":11}';;
      *train_torch.py) echo '{"gpu":"none"}'; echo '{"peer":"torch-eager-fa2","T":'$T',"step_ms":212.5,"peak_gib":27.4}'; echo broken >&2; exit 3;;
    esac`,
  );
  fake(
    "scfa",
    `attention='{"bench":"attention","T":'$T',"pattern":"hash(16)","forwardMs":2,"backwardMs":4.5,"check":{"forward":{"pass":true}}}'
    train='{"bench":"train","context":'$T',"attention":"hash(16)","stepMs":62.5,"peakBytes":1073741824}'
    echo "\${!kind}"`,
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function sideBySide(...args: string[]) {
  const programs = ["--python", at("python"), "--scfa", at("scfa"), "--out", at("rows.jsonl")];
  const { status, stdout, stderr } = spawnSync("node", ["bench/peers/side_by_side.mjs", ...args, ...programs], {
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

test("attention: ratios to cuDNN and to the variable-length construction, each beside what is aimed at", () => {
  const { status, stdout } = sideBySide("attention", "--lengths", "16k", "--patterns", "hash(16)");
  expect(status).toBe(0);
  expect(stdout).toContain("| torch-cudnn | 14.00 / 38.00 | 1.00x |");
  expect(stdout).toContain("| hash(16) | 2.00 / 4.50 | 8.00x | 7x | 3.54x | 3x | - |");
  const rows = readFileSync(at("rows.jsonl"), "utf8").trim().split("\n");
  for (const row of rows) {
    expect(JSON.parse(row)).toMatchObject({ T: 16384, machine: expect.any(String), date: expect.any(String) });
    expect(JSON.parse(row).command).toBe("side_by_side.mjs attention --lengths 16k --patterns hash(16)");
  }
});

test("train: a program that fails is named, and what it measured before stays", () => {
  const { status, stdout, stderr } = sideBySide("train", "--lengths", "16k");
  expect(status).toBe(1);
  expect(stderr).toContain("failed: broken");
  expect(stdout).toMatch(/\| 16k \| torch-eager-fa2 \| 2\d\d \|/);
  expect(stdout).toContain("| 16k | scfa hash(16) | 62.50 | 64 ms | 3.40x | - | 1.0 |");
});

test("steps are chosen by name, and an unknown one is refused", () => {
  const { stdout, stderr } = sideBySide("attention", "--lengths", "8k", "--steps", "ours");
  expect(stdout).not.toContain("torch");
  expect(stderr.split("\n").filter((line) => line.includes("measurements:"))).toHaveLength(1);
  expect(sideBySide("attention", "--steps", "paper")).toMatchObject({ status: 2 });
});

test("--together gives a program all lengths at once", () => {
  const lengths = ["--lengths", "8k,16k"];
  const apart = sideBySide("attention", "--steps", "paper", "--paper", folder, ...lengths).stderr;
  const together = sideBySide("attention", "--steps", "paper", "--paper", folder, ...lengths, "--together").stderr;
  expect(apart.match(/--lengths \S+/g)).toEqual(["--lengths 8192", "--lengths 16384"]);
  expect(together.match(/--lengths \S+/g)).toEqual(["--lengths 8192,16384"]);
});
