// Times attention on the CPU device alone, over staircases made on the host, and checks a few rows in float64.
// CPU time is that of all threads together: the figure to compare on a machine that others use too.
// Usage: npm run build && node bench/cpu-attention-micro.mjs [--threads 2] [--simd simd|relaxed] [--repeats 7] [--only text]
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    threads: { type: "string", default: "2" },
    simd: { type: "string" },
    repeats: { type: "string", default: "7" },
    only: { type: "string", default: "" },
    dist: { type: "string", default: "../dist" },
  },
});
const { openCpuDevice } = await import(`${options.dist}/device/cpu/index.js`);
const device = await openCpuDevice({
  threads: Number(options.threads),
  ...(options.simd ? { simd: options.simd } : {}),
});
console.log(device.description, process.version);

let state = 1;
const uniform = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};
const normal = (n) =>
  Float32Array.from({ length: n }, () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));

const cases = [
  { name: "dense", T: 2048, H: 8, D: 64 },
  { name: "dense", T: 8192, H: 8, D: 64 },
  { name: "hash", buckets: 16, T: 8192, H: 8, D: 64 },
  { name: "hash", buckets: 64, T: 8192, H: 8, D: 64 },
  { name: "window", window: 256, T: 8192, H: 8, D: 64 },
  { name: "drop", keep: 0.3, T: 8192, H: 8, D: 64 },
  { name: "dense", T: 2048, H: 4, D: 128 },
  { name: "dense", T: 2048, H: 8, D: 32 },
  { name: "dense", T: 128, H: 8, D: 64 },
];

/** One head's staircase: the rows in visit order and each query's bounds. */
function staircaseOf({ name, T, buckets, window, keep }) {
  const identity = Int32Array.from({ length: T }, (_, i) => i);
  if (name === "dense") return { rows: null, lo: new Int32Array(T), hi: identity.map((i) => i + 1) };
  if (name === "window")
    return { rows: null, lo: identity.map((i) => Math.max(0, i - window + 1)), hi: identity.map((i) => i + 1) };
  const groups = name === "hash" ? buckets : 1;
  const group = identity.map(() => (name === "hash" ? Math.floor(uniform() * buckets) : uniform() < keep ? 0 : 1));
  const rows = identity.slice().sort((a, b) => group[a] - group[b] || a - b);
  const lo = new Int32Array(T);
  const hi = new Int32Array(T);
  let start = 0;
  for (let n = 0; n < T; n++) {
    if (n > 0 && group[rows[n]] !== group[rows[n - 1]]) start = n;
    lo[n] = start;
    hi[n] = group[rows[n]] < groups ? n + 1 : start;
  }
  return { rows, lo, hi };
}

function columnsOf({ lo, hi }, keys) {
  const qLo = new Int32Array(keys);
  const qHi = new Int32Array(keys);
  for (let n = lo.length - 1; n >= 0; n--) for (let m = lo[n]; m < hi[n]; m++) qLo[m] = n;
  for (let n = 0; n < lo.length; n++) for (let m = lo[n]; m < hi[n]; m++) qHi[m] = n + 1;
  return { qLo, qHi };
}

async function time(enqueue) {
  enqueue();
  enqueue();
  await device.synchronize();
  const times = [];
  const cpu = [];
  let used = process.cpuUsage();
  for (let i = 0; i < Number(options.repeats); i++) {
    const start = performance.now();
    enqueue();
    await device.synchronize();
    times.push(performance.now() - start);
    const { user, system } = process.cpuUsage(used);
    cpu.push((user + system) / 1000);
    used = process.cpuUsage();
  }
  for (const list of [times, cpu]) list.sort((a, b) => a - b);
  return { best: times[0], median: times[times.length >> 1], cpu: cpu[0] };
}

function checkForward({ T, H, D }, data, heads, o) {
  const scale = 1 / Math.sqrt(D);
  let worst = 0;
  for (let probe = 0; probe < 64; probe++) {
    const [h, n] = [probe % H, Math.floor(uniform() * T)];
    const { rows, lo, hi } = heads[h];
    const at = (place) => ((rows ? rows[place] : place) * H + h) * D;
    const scores = [];
    for (let m = lo[n]; m < hi[n]; m++) {
      let s = 0;
      for (let d = 0; d < D; d++) s += data.q[at(n) + d] * data.k[at(m) + d];
      scores.push(s * scale);
    }
    const max = Math.max(...scores);
    const p = scores.map((s) => Math.exp(s - max));
    const sum = p.reduce((a, b) => a + b, 0);
    for (let d = 0; d < D; d++) {
      let value = 0;
      for (let m = lo[n]; m < hi[n]; m++) value += (p[m - lo[n]] / sum) * data.v[at(m) + d];
      worst = Math.max(worst, Math.abs(value - o[at(n) + d]));
    }
  }
  return worst;
}

for (const one of cases) {
  const { name, T, H, D } = one;
  const label = `${name}${one.buckets ?? one.window ?? one.keep ?? ""} T=${T} H=${H} D=${D}`;
  if (!label.includes(options.only)) continue;
  const data = Object.fromEntries(["q", "k", "v", "dout"].map((key) => [key, normal(T * H * D)]));
  const heads = Array.from({ length: H }, () => staircaseOf(one));
  const columns = heads.map((head) => columnsOf(head, T));
  const stack = (arrays) => device.tensor(Int32Array.from(arrays.flatMap((a) => [...a])), [1, H, T]);
  const rows = heads[0].rows ? stack(heads.map((head) => head.rows)) : null;
  const staircase = {
    qRows: rows,
    kRows: rows,
    lo: stack(heads.map((head) => head.lo)),
    hi: stack(heads.map((head) => head.hi)),
    qLo: stack(columns.map((column) => column.qLo)),
    qHi: stack(columns.map((column) => column.qHi)),
  };
  const pairs = heads.reduce((n, { lo, hi }) => n + hi.reduce((sum, end, i) => sum + end - lo[i], 0), 0);
  const tensors = Object.fromEntries(Object.entries(data).map(([key, x]) => [key, device.tensor(x, [1, T, H, D])]));
  const outputs = Object.fromEntries(["o", "dq", "dk", "dv"].map((key) => [key, device.empty([1, T, H, D])]));
  const [lse, delta] = [device.empty([1, H, T]), device.empty([1, H, T])];
  const common = { ...tensors, ...outputs, lse, delta, staircase, scale: 1 / Math.sqrt(D) };
  const forward = await time(() => device.ops.attentionForward(common));
  const error = checkForward(one, data, heads, await outputs.o.read());
  let line = `${label}: forward ${forward.best.toFixed(1)} ms (median ${forward.median.toFixed(1)}, CPU time ${forward.cpu.toFixed(0)}), `;
  line += `${((4 * pairs * D) / forward.best / 1e6).toFixed(1)} GFLOP/s, error ${error.toExponential(1)}`;
  try {
    const backward = await time(() => {
      device.ops.attentionDelta(common);
      device.ops.attentionBackward(common);
    });
    line += `; backward ${backward.best.toFixed(1)} ms (median ${backward.median.toFixed(1)}, CPU time ${backward.cpu.toFixed(0)}), `;
    line += `${((10 * pairs * D) / backward.best / 1e6).toFixed(1)} GFLOP/s, ${(backward.best / forward.best).toFixed(2)}x forward`;
  } catch (error) {
    if (error.name !== "UnsupportedError") throw error;
  }
  console.log(line);
  for (const t of [...Object.values(tensors), ...Object.values(outputs), ...Object.values(staircase), lse, delta])
    t?.dispose();
}
