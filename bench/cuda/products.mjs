// Times the matrix products of a 124M-parameter step through the device's ops, in TFLOP/s, each with a check of a few
// elements. Run after `npm run build`: node bench/cuda/products.mjs [bf16|f16] [--deterministic]
import { openCudaDevice } from "../../dist/device/cuda/index.js";

const type = process.argv.includes("f16") ? "f16" : "bf16";
const device = await openCudaDevice({ deterministic: process.argv.includes("--deterministic") });
const { ops } = device;
console.log(`# ${device.description}, ${type}, Node ${process.version}`);

const [tokens, headRows, vocabulary] = [32768, 10240, 50304];
const blockRows = 256;

/** Element [row, column]: eighths of a small whole number, so that both types hold it exactly; rows repeat. */
const valueAt = (seed, row, column) => {
  const mixed = Math.imul(((row % blockRows) * 65537 + column + 1) ^ seed, 0x9e3779b1);
  return (((mixed ^ (mixed >>> 15)) & 15) - 7.5) / 8;
};

function matrix(seed, rows, columns) {
  const tensor = device.empty([rows, columns], type);
  const block = Float32Array.from({ length: Math.min(rows, blockRows) * columns }, (_, i) =>
    valueAt(seed, Math.floor(i / columns), i % columns),
  );
  for (let row = 0; row < rows; row += blockRows) {
    const count = Math.min(blockRows, rows - row);
    tensor.slice(0, row, count).write(block.subarray(0, count * columns));
  }
  return { tensor, at: (row, column) => valueAt(seed, row, column), rows, columns };
}

const inner = (x) => Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
const gelu = (x) => 0.5 * x * (1 + Math.tanh(inner(x)));
const geluSlope = (x) => {
  const t = Math.tanh(inner(x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
};
const dot = (K, term) => {
  let sum = 0;
  for (let k = 0; k < K; k++) sum += term(k);
  return sum;
};

/** The first call's output against float64, at a few places of its first and last rows. */
async function check(name, out, expected) {
  const [rows, columns] = out.shape;
  let worst = 0;
  let largest = 0;
  for (const row of [0, rows - 1]) {
    const values = await out.slice(0, row, 1).read();
    for (let n = 0; n < 16; n++) {
      const column = Math.floor((n * (columns - 1)) / 15);
      const wanted = expected(row, column);
      worst = Math.max(worst, Math.abs(values[column] - wanted));
      largest = Math.max(largest, Math.abs(wanted));
    }
  }
  // Half a unit in bfloat16's last place is 2^-9 of a value; epilogues in two passes round twice.
  if (!(worst <= largest * (out.dtype === "f32" ? 1e-4 : 2 ** -7))) {
    throw new Error(`${name}: off by ${worst} where values reach ${largest}`);
  }
}

async function report(name, { M, N, K }, run) {
  const calls = 10;
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    const ms = await device.time(() => {
      for (let n = 0; n < calls; n++) run();
    });
    best = Math.min(best, ms / calls);
  }
  const rate = (2 * M * N * K) / best / 1e9;
  const size = `[${M}, ${K}] x [${K}, ${N}]`;
  console.log(
    `${name.padEnd(26)} ${size.padEnd(32)} ${best.toFixed(3).padStart(8)} ms ${rate.toFixed(0).padStart(5)} TFLOP/s`,
  );
}

const layers = [
  { name: "qkv", rows: tokens, I: 768, O: 1536 },
  { name: "attention out", rows: tokens, I: 768, O: 768, residual: true },
  { name: "up", rows: tokens, I: 768, O: 3072, gelu: true },
  { name: "down", rows: tokens, I: 3072, O: 768, residual: true, geluBefore: true },
  { name: "head", rows: headRows, I: 768, O: vocabulary, transposed: true },
];

for (const {
  name,
  rows: N,
  I,
  O,
  residual = false,
  gelu: hasGelu = false,
  geluBefore = false,
  transposed = false,
} of layers) {
  const [x, w, dout] = [matrix(1, N, I), transposed ? matrix(2, O, I) : matrix(2, I, O), matrix(3, N, O)];
  const weight = (i, o) => (transposed ? w.at(o, i) : w.at(i, o));
  const [out, dx] = [device.empty([N, O], type), device.empty([N, I], type)];
  const sum = (row, o) => dot(I, (i) => x.at(row, i) * weight(i, o));

  const preGelu = hasGelu ? device.empty([N, O], type) : null;
  const added = residual ? dout : null;
  const forward = () => ops.linear({ x: x.tensor, w: w.tensor, transposed, residual: added?.tensor, preGelu, out });
  forward();
  await check(name, out, (row, o) => (hasGelu ? gelu(sum(row, o)) : sum(row, o)) + (added ? added.at(row, o) : 0));
  await report(`${name}${hasGelu ? " + gelu" : ""}${residual ? " + residual" : ""}`, { M: N, N: O, K: I }, forward);

  const before = geluBefore ? x : null;
  const backward = () =>
    ops.linearBackwardInput({ dout: dout.tensor, w: w.tensor, transposed, preGelu: before?.tensor, dx });
  backward();
  await check(`${name} dx`, dx, (row, i) => {
    const gradient = dot(O, (o) => dout.at(row, o) * weight(i, o));
    return gradient * (before ? geluSlope(before.at(row, i)) : 1);
  });
  await report(`${name} dx${geluBefore ? " x gelu'" : ""}`, { M: N, N: I, K: O }, backward);

  const dw = device.zeros(transposed ? [O, I] : [I, O]);
  const weightBackward = () => ops.linearBackwardWeight({ x: x.tensor, dout: dout.tensor, transposed, dw });
  weightBackward();
  await check(`${name} dw`, dw, (row, column) => {
    const [i, o] = transposed ? [column, row] : [row, column];
    return dot(N, (n) => x.at(n, i) * dout.at(n, o));
  });
  await report(`${name} dw`, { M: dw.shape[0], N: dw.shape[1], K: N }, weightBackward);
  for (const tensor of [x.tensor, w.tensor, dout.tensor, out, dx, dw, preGelu]) tensor?.dispose();
}
console.log(`# most memory held: ${(device.memory.peakBytes / 2 ** 30).toFixed(2)} GiB`);
device.dispose();
