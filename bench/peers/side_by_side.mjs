// Times scfa beside PyTorch, and the paper's kernels if a copy is at hand, in turns on one GPU; prints tables with the
// ratios that are aimed at, and appends every measurement to a file. Queries and keys of the hash patterns share their
// buckets, as in the paper's models and the variable-length construction; rows are dropped of each on its own.
// Usage: node bench/peers/side_by_side.mjs attention|train [--lengths 8k,16k] [--patterns 'dense,hash(16)'] [--steps ours,torch]
//   --steps     which contestants: ours, torch, varlen, paper (attention); ours, torch (train). Default: all there are
//   --paper     folder of the paper's code, see paper_triton.py
//   --turns     rounds over all contestants, the median counts; default 1      --rounds   of scfa bench; default 9
//   --tokens    of a training step; default 32k, at least one sequence          --limit    seconds for each program; 300
//   --device    of scfa; default cuda      --dtype   default bf16      --batch, --heads, --head-dimension   of attention; default 4, 48, 64
//   --together  all lengths of attention in one run of each program: quicker, not in turns
//   --out       default bench/results/side_by_side.jsonl       --python, --scfa   the programs
import { spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { sourceCommit } from "../../dist/cli/machine.js";
import { attentionTables, trainTable } from "./tables.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const text = (value) => ({ type: "string", ...(value !== undefined && { default: value }) });
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...{ lengths: text(), patterns: text(), steps: text(), paper: text(), turns: text("1"), rounds: text("9") },
    ...{ tokens: text("32k"), limit: text("300"), device: text("cuda"), dtype: text("bf16"), batch: text("4") },
    ...{
      heads: text("48"),
      "head-dimension": text("64"),
      out: text(join(here, "../results/side_by_side.jsonl")),
      python: text("python3"),
      together: { type: "boolean", default: false },
      scfa: text(),
    },
  },
});
const what = positionals[0];
if (what !== "attention" && what !== "train") {
  console.error(`side_by_side: attention or train is timed, got ${what}.`);
  process.exit(2);
}

const count = (text) => (text.endsWith("k") ? Number(text.slice(0, -1)) * 1024 : Number(text));
const defaults = {
  attention: {
    lengths: "8k,16k,32k",
    patterns: "dense,hash(4),hash(8),hash(16),hash(32),hash(64),drop(0.5),drop(0.7),drop(0.8)",
    // The last two are for a head dimension of 64.
    steps: flags.paper ? "torch,ours,varlen,paper" : "torch,ours,varlen",
  },
  train: {
    lengths: "8k,16k,32k,64k",
    patterns: "dense,hash(16),hash(16, balanced=true),drop(0.7)",
    steps: "torch,ours",
  },
}[what];
const lengths = (flags.lengths ?? defaults.lengths).split(",").map(count);
const patterns = flags.patterns ?? defaults.patterns;
const sparse = patterns.split(",").filter((pattern) => /^(hash\(\d+\)|drop\([\d.]+\))$/.test(pattern));
const bucketCounts = sparse.flatMap((pattern) => /^hash\((\d+)\)$/.exec(pattern)?.[1] ?? []);

const python = (script, ...args) => [flags.python, join(here, script), ...args];
const scfa = flags.scfa ? [flags.scfa] : [process.execPath, join(here, "../../dist/cli/main.js")];
const ours = (group, given, ...args) => [
  ...[...scfa, "bench", what, "--json", "--device", flags.device, "--dtype", flags.dtype, "--lengths", `${group}`],
  ...["--patterns", given, "--rounds", flags.rounds, ...args],
];
/** Tokens of a step up to which one card holds the models of all patterns at once, to take them by turns. */
const sharedTokens = 32768;
const shape = ["--batch", flags.batch, "--heads", flags.heads];
const D = flags["head-dimension"];
const tokensOf = (T) => `${Math.max(count(flags.tokens), T)}`;
/** Lengths of one run of a program: a training run of several spares drawing the weights and starting anew. */
const groups =
  what === "attention"
    ? flags.together
      ? [lengths]
      : lengths.map((T) => [T])
    : [...new Set(lengths.map(tokensOf))].map((tokens) => lengths.filter((T) => tokensOf(T) === tokens));

/** Command lines of each contestant at a group of lengths. */
const programs = {
  attention: {
    torch: (group) => [python("attention_torch.py", ...shape, "--dim", D, "--lengths", `${group}`)],
    ours: (group) => [ours(group, patterns, "--peer", "none", "--shared-qk", ...shape, "--head-dimension", D)],
    varlen: (group) =>
      bucketCounts.length === 0 || D !== "64"
        ? []
        : [python("hash_varlen_torch.py", ...shape, "--lengths", `${group}`, "--buckets", bucketCounts.join())],
    paper: (group) => [
      python(
        "paper_triton.py",
        resolve(flags.paper ?? ""),
        ...shape,
        "--lengths",
        `${group}`,
        "--patterns",
        sparse.join(),
      ),
    ],
  },
  train: {
    torch: (group) => {
      const tokens = tokensOf(group[0]);
      const run = (modes, kernels) =>
        python("train_torch.py", "--lengths", `${group}`, "--tokens", tokens, "--modes", modes, "--kernels", kernels);
      return [run("eager", "fa2,cudnn"), run("compiled", "cudnn")];
    },
    ours: (group) => {
      const tokens = tokensOf(group[0]);
      // A comma inside brackets belongs to the pattern.
      const runs = tokens > sharedTokens ? patterns.split(/,(?![^(]*\))/) : [patterns];
      return runs.map((given) => ours(group, given, "--preset", "paper-124m", "--tokens", tokens));
    },
  },
}[what];

/** What a program printed, in the words of this file; null for what is no measurement. */
function readRow(row) {
  if (row.bench === "attention") {
    const { T, pattern, sharedQK, buildingMs, forwardMs, backwardMs, visibleShare, device, check } = row;
    const correct = Object.values(check).every(({ pass }) => pass);
    return { who: "scfa", T, pattern, sharedQK, buildingMs, forwardMs, backwardMs, visibleShare, device, correct };
  }
  if (row.bench === "train") {
    const { context: T, attention: pattern, stepMs, tokensPerS, visibleShare, peakBytes, device } = row;
    const peak = typeof peakBytes === "number" ? { peakGib: peakBytes / 2 ** 30 } : {};
    return { who: "scfa", T, pattern, stepMs, tokensPerS, visibleShare, ...peak, device };
  }
  if (row.peer) {
    return {
      who: row.peer,
      T: row.T,
      pattern: "dense",
      stepMs: row.step_ms,
      tokensPerS: row.tokens_per_s,
      peakGib: row.peak_gib,
    };
  }
  if (!row.kernel) return null;
  const pattern = row.pattern ?? (row.buckets ? `hash(${row.buckets})` : "dense");
  return { who: row.kernel, T: row.T, pattern, forwardMs: row.fwd_ms, backwardMs: row.bwd_ms };
}

function run(command) {
  const start = performance.now();
  const {
    status,
    signal,
    error,
    stdout = "",
    stderr = "",
  } = spawnSync(command[0], command.slice(1), {
    encoding: "utf8",
    maxBuffer: 2 ** 26,
    timeout: Number(flags.limit) * 1000,
  });
  const rows = (stdout ?? "").split("\n").flatMap((line) => {
    if (!line.startsWith("{")) return [];
    const row = readRow(JSON.parse(line));
    return row ? [row] : [];
  });
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  console.error(`${seconds} s, ${rows.length} measurements: ${command.join(" ")}`);
  // What came before a failure was measured; it stays.
  const failure =
    error?.message ?? (status === 0 ? null : (stderr ?? "").trim().split("\n").at(-1) || `${signal ?? status}`);
  if (failure) console.error(`  failed: ${failure}`);
  return { rows, failure };
}

const machine = spawnSync("nvidia-smi", ["--query-gpu=name,driver_version", "--format=csv,noheader"], {
  encoding: "utf8",
});

/** The command as another may repeat it: without the places that it was given on this machine. */
function repeatable(args) {
  const places = ["--out", "--python", "--scfa"];
  const kept = args.filter((arg, n) => !places.includes(arg) && !places.includes(args[n - 1]));
  return kept.map((arg, n) => (kept[n - 1] === "--paper" ? "DIR" : arg)).join(" ");
}

const facts = {
  bench: what,
  machine: machine.status === 0 ? machine.stdout.trim() : `${process.platform} ${process.arch}`,
  commit: sourceCommit(),
  command: `side_by_side.mjs ${repeatable(process.argv.slice(2))}`,
};
mkdirSync(dirname(resolve(flags.out)), { recursive: true });
const steps = (flags.steps ?? defaults.steps).split(",");
const unknown = steps.find((step) => !(step in programs) || (step === "paper" && !flags.paper));
if (unknown) {
  console.error(
    `side_by_side: --steps of ${what} are ${Object.keys(programs).join(", ")} (paper with --paper), got ${unknown}.`,
  );
  process.exit(2);
}
const all = [];
let failures = 0;
for (const group of groups) {
  for (let turn = 0; turn < Number(flags.turns); turn++) {
    for (const step of steps) {
      for (const command of programs[step](group)) {
        const { rows, failure } = run(command);
        if (failure) failures++;
        all.push(...rows);
        const size = what === "attention" ? { B: Number(flags.batch), H: Number(flags.heads), D: Number(D) } : {};
        const lines = rows.map(
          (row) => `${JSON.stringify({ ...facts, ...size, ...row, turn, date: new Date().toISOString() })}\n`,
        );
        appendFileSync(flags.out, lines.join(""));
      }
    }
  }
}
console.log(what === "train" ? trainTable(all) : attentionTables(all, { hasBars: D === "64" }).join("\n\n"));
console.log(`\n${all.length} measurements on ${facts.machine}, in ${flags.out}`);
if (failures > 0) console.error(`${failures} programs failed; what they lack is missing above.`);
process.exit(failures > 0 || all.some(({ correct }) => correct === false) ? 1 : 0);
