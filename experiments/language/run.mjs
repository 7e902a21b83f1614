// Trains the paper's 124M model once for each kind of attention, on the same tokens in the same order, and appends what was
// measured to results.jsonl beside this file, or to --out: one line for each evaluation of each run.
// Usage, in a built checkout or a packed folder, with tokens made as ../text/make.mjs says:
//   node experiments/language/run.mjs --data DATA [--device cuda] [--steps 1000] [--limit SECONDS] [--out FILE] [NAME ...]
// A run that has not ended after --limit seconds is stopped; its lines so far are kept, and say of how many steps it was.
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { sourceCommit } from "../../dist/cli/machine.js";

/** What each head sees, by name. T = 8192, four sequences a step; keys are the normalised queries, as in the paper. */
const variants = {
  dense: "dense",
  "hash-16": "hash(16, diagonal=false)",
  "hash-16-balanced": "hash(16, diagonal=false, balanced=true)",
  "hash-8-balanced": "hash(8, diagonal=false, balanced=true)",
  "drop-50": "drop(0.5)",
  window: "window(256)",
  "window+dense": "window(256):6 dense:6",
  "window+hash": "window(256):6 hash(16):6",
  "window+hash-balanced": "window(256):6 hash(16, balanced=true):6",
  union: "union(window(256), hash(16, balanced=true))",
};
const context = 8192;
const batch = 4;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    data: { type: "string" },
    device: { type: "string", default: "cuda" },
    steps: { type: "string", default: "1000" },
    limit: { type: "string", default: "3600" },
    out: { type: "string", default: join(import.meta.dirname, "results.jsonl") },
  },
});
const names = positionals.length > 0 ? positionals : Object.keys(variants);
const unknown = names.filter((name) => !(name in variants));
if (!values.data || unknown.length > 0) {
  const rule = values.data ? `no variant is named ${unknown.join(", ")}` : "--data must name a folder of tokens";
  console.error(`run.mjs: ${rule}. Variants: ${Object.keys(variants).join(", ")}.`);
  process.exit(2);
}

for (const name of names) {
  const folder = mkdtempSync(join(tmpdir(), "scfa-language-"));
  const steps = Number(values.steps);
  const flags = {
    data: resolve(values.data),
    device: values.device,
    preset: "paper-8k",
    attention: variants[name],
    batch,
    accumulate: 1,
    steps,
    "eval-every": Math.max(1, Math.round(steps / 10)),
    "eval-batches": 8,
    "checkpoint-every": 0,
    out: join(folder, "run"),
  };
  const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, `${value}`]);
  const start = performance.now();
  const program = resolve(import.meta.dirname, "../../dist/cli/main.js");
  // Ctrl-C's signal would write a checkpoint, which takes longer than the lines are worth.
  const { status } = spawnSync(process.execPath, [program, "train", ...args], {
    stdio: ["ignore", "ignore", "inherit"],
    timeout: Number(values.limit) * 1000,
    killSignal: "SIGKILL",
  });
  const metrics = join(flags.out, "metrics.jsonl");
  const lines = existsSync(metrics) ? readFileSync(metrics, "utf8").trim().split("\n") : [];
  const evaluated = lines.map((line) => JSON.parse(line)).filter(({ valLoss }) => valLoss !== undefined);
  for (const { step, tokens, loss, valLoss, stepMs, elapsedMs, visibleShare } of evaluated) {
    const where = { experiment: "language", machine: machine(), date: new Date().toISOString().slice(0, 10) };
    const what = { commit: sourceCommit(), run: name, attention: variants[name], context, batch, steps };
    const measured = { step, tokens, loss, valLoss, stepMs, elapsedMs, visibleShare };
    appendFileSync(resolve(values.out), `${JSON.stringify({ ...where, ...what, ...measured })}\n`);
  }
  const last = evaluated.at(-1);
  const seconds = Math.round((performance.now() - start) / 1000);
  const outcome = last
    ? `step ${last.step}: perplexity ${Math.exp(last.valLoss).toFixed(2)}, ${last.stepMs.toFixed(1)} ms a step, ${(100 * last.visibleShare).toFixed(1)} % visible`
    : "no evaluation was reached";
  console.log(`${name}: ${outcome} (${seconds} s, ${status === 0 ? "ended" : "stopped"})`);
  rmSync(folder, { recursive: true, force: true });
}

/** The GPU and its driver, or this machine's name for the processor. */
function machine() {
  const { stdout } = spawnSync("nvidia-smi", ["--query-gpu=name,driver_version", "--format=csv,noheader"], {
    encoding: "utf8",
  });
  return stdout ? stdout.trim().replace(", ", ", driver ") : `${process.platform} ${process.arch}`;
}
