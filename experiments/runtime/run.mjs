// How long attention takes, forward and backward, as the sequence grows from 256 to 65,536 tokens: the figures of the paper's
// notebook. B 4, H 48, D 64, bf16; buckets and masks of queries and keys are independent. Ours is the whole operation, hashing
// or dropping and the staircase too, one recorded pass at a time; PyTorch's dense kernels and the paper's own Triton kernels are
// started from Python (../../bench/peers), pass by pass. The paper's are given their buckets, and hash nothing.
// Appends lines to results.jsonl beside this file, or to --out. Some three minutes on an H100.
// Usage, in a built checkout or a packed folder: node experiments/runtime/run.mjs [--paper DIR] [--steps ours,torch,paper] [--lengths 256,512]
//   --paper   a copy of the paper's code, see bench/peers/paper_triton.py; without it its kernels are left out
//   --limit   seconds for each program of the peers; what it measured until then stays
//   --device, --batch, --heads   default cuda, 4, 48: smaller ones to try it
import { spawnSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { BenchInputs } from "../../dist/bench/inputs.js";
import { timesOf } from "../../dist/bench/measure.js";
import { BenchTensors, PatternRun } from "../../dist/bench/patternRun.js";
import { describeMachine, sourceCommit } from "../../dist/cli/machine.js";
import { openDevice } from "../../dist/index.js";

const { values: flags } = parseArgs({
  options: {
    device: { type: "string", default: "cuda" },
    batch: { type: "string", default: "4" },
    heads: { type: "string", default: "48" },
    lengths: { type: "string", default: "256,512,1024,2048,4096,8192,16384,32768,65536" },
    paper: { type: "string" },
    steps: { type: "string", default: "ours,torch,paper" },
    limit: { type: "string", default: "300" },
    out: { type: "string", default: join(import.meta.dirname, "results.jsonl") },
  },
});
const command = "node experiments/runtime/run.mjs";
const [B, H, D] = [Number(flags.batch), Number(flags.heads), 64];
const lengths = flags.lengths.split(",").map(Number);
const sparse = [2, 4, 8, 16, 32, 64]
  .map((buckets) => `hash(${buckets})`)
  .concat([0.2, 0.3, 0.5, 0.7, 0.8].map((share) => `drop(${share})`));
/** Of one pass: at least so many times, and more where all of them take less than this. */
const [leastTimes, mostTimes, enoughMs] = [3, 15, 120];

const steps = {
  ours: measureOurs,
  torch: () => peers("torch", lengths, sparse),
  paper: () => {
    if (!flags.paper) return;
    // Some of the lengths, and of the last one pattern: they are slow.
    const chosen = lengths.filter((T) => [1024, 4096, 16384, 32768].includes(T));
    peers("paper", chosen, sparse);
    peers(
      "paper",
      lengths.filter((T) => T === 65536),
      ["hash(16)"],
    );
  },
};
for (const step of flags.steps.split(",")) await steps[step]();

async function measureOurs() {
  const device = await openDevice(flags.device);
  const gpu = spawnSync("nvidia-smi", ["--query-gpu=name,driver_version", "--format=csv,noheader"], {
    encoding: "utf8",
  });
  const machine = gpu.status === 0 ? gpu.stdout.trim() : describeMachine().text;
  const dtype = device.capabilities.floatTypes.includes("bf16") ? "bf16" : device.capabilities.floatTypes[0];
  const where = { experiment: "runtime", machine, device: device.description, commit: sourceCommit(), command };
  for (const T of lengths) {
    const tensors = new BenchTensors(device, new BenchInputs({ B, Tq: T, Tk: T, H, Hk: H, D }, dtype));
    for (const pattern of ["dense", ...sparse]) {
      const run = new PatternRun(tensors, pattern, { sharedQK: false });
      const forward = await timed(device, () => run.forward());
      const backward = await timed(device, () => run.backward());
      const pairs = await run.visiblePairs();
      run.dispose();
      const [forwardMs, backwardMs] = [forward.medianMs, backward.medianMs];
      const size = { B, H, D, dtype, who: "scfa", T, pattern, pairs };
      const all = { forwardMs, backwardMs, forwardAllMs: forward.allMs, backwardAllMs: backward.allMs };
      record({ ...where, date: new Date().toISOString(), ...size, ...all });
      console.log(`T ${T}, ${pattern}: ${forwardMs.toFixed(3)} / ${backwardMs.toFixed(3)} ms`);
    }
    tensors.dispose();
  }
  device.dispose();
}

/** Times of a recorded pass; the first two runs, of which a device may capture the second, do not count. */
async function timed(device, pass) {
  const all = [];
  for (let n = -2, sum = 0; n < leastTimes || (n < mostTimes && sum < enoughMs); n++) {
    const ms = await device.time(pass);
    if (n < 0) continue;
    all.push(ms);
    sum += ms;
  }
  return timesOf(all);
}

function peers(step, lengths, patterns) {
  if (lengths.length === 0) return;
  const size = [
    "--batch",
    flags.batch,
    "--heads",
    flags.heads,
    "--lengths",
    lengths.join(),
    "--together",
    "--limit",
    flags.limit,
  ];
  const paper = flags.paper ? ["--paper", resolve(flags.paper)] : [];
  const args = [
    "attention",
    "--steps",
    step,
    "--patterns",
    patterns.join(),
    ...size,
    ...paper,
    "--out",
    resolve(flags.out),
  ];
  spawnSync(process.execPath, [join(import.meta.dirname, "../../bench/peers/side_by_side.mjs"), ...args], {
    stdio: "inherit",
  });
}

function record(line) {
  appendFileSync(resolve(flags.out), `${JSON.stringify(line)}\n`);
}
