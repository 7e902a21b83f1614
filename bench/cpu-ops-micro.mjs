// Times every CPU op but attention at the sizes of a small model, and the matrix product in GFLOP/s.
// Run after `npm run build`: node bench/cpu-ops-micro.mjs [threads]
import { openCpuDevice } from "../dist/device/cpu/index.js";
import { lshRotations } from "../dist/rng.js";

const device = await openCpuDevice(process.argv[2] ? { threads: Number(process.argv[2]) } : {});
const { ops } = device;
console.log(`# ${device.description}, Node ${process.version}`);

const zeros = (...shape) => device.zeros(shape);
const random = (...shape) => {
  const size = shape.reduce((n, d) => n * d, 1);
  return device.tensor(
    Float32Array.from({ length: size }, () => Math.random() - 0.5),
    shape,
  );
};
const ints = (below, ...shape) => {
  const size = shape.reduce((n, d) => n * d, 1);
  return device.tensor(
    Int32Array.from({ length: size }, () => Math.floor(Math.random() * below)),
    shape,
  );
};

/** The best of several rounds: other work on the machine only ever adds time. */
async function bestMs(run, rounds = 9) {
  let best = Number.POSITIVE_INFINITY;
  for (let r = 0; r < rounds; r++) {
    await device.synchronize();
    const start = performance.now();
    let calls = 0;
    do {
      run();
      await device.synchronize();
      calls++;
    } while (performance.now() - start < 20);
    best = Math.min(best, (performance.now() - start) / calls);
  }
  return best;
}

for (const [N, I, O] of [
  [4096, 128, 512],
  [4096, 512, 128],
  [4096, 128, 384],
  [4096, 128, 128],
  [4096, 128, 256],
  [8192, 256, 1024],
  [16, 256, 1024],
  [1, 256, 1024],
]) {
  const [x, w, turned, bias, out, pre] = [
    random(N, I),
    random(I, O),
    random(O, I),
    random(O),
    random(N, O),
    zeros(N, O),
  ];
  const [dx, dw] = [zeros(N, I), zeros(I, O)];
  const variants = {
    linear: () => ops.linear({ x, w, out }),
    transposed: () => ops.linear({ x, w: turned, transposed: true, out }),
    gelu: () => ops.linear({ x, w, bias, preGelu: pre, out }),
    input: () => ops.linearBackwardInput({ dout: out, w, dx }),
    throughGelu: () => ops.linearBackwardInput({ dout: x, w: turned, preGelu: pre, dx: out }),
    weight: () => ops.linearBackwardWeight({ x, dout: out, dw }),
  };
  const cells = [];
  for (const [name, run] of Object.entries(variants)) {
    const ms = await bestMs(run, 5);
    cells.push(`${name} ${((2 * N * I * O) / ms / 1e6).toFixed(0)} (${ms.toFixed(2)} ms)`);
  }
  console.log(`GFLOP/s ${N}x${I}x${O}: ${cells.join(", ")}`);
  for (const tensor of [x, w, turned, bias, out, pre, dx, dw]) tensor.dispose();
}

const [T, H, D, C, V] = [8192, 8, 64, 512, 256];
const [x, dout, out] = [random(T, C), random(T, C), zeros(T, C)];
const heads = (tensor) => tensor.view([1, T, H, D]);
const [weight, bias, mean, rstd] = [random(C), random(C), zeros(T), zeros(T)];
const [dWeight, dBias, table, positions] = [zeros(C), zeros(C), random(V, C), random(T, C)];
const tokens = ints(V, 1, T);
const buckets = ints(16, 1, T, H);
const rotations = device.tensor(lshRotations({ seed: 1, H, D, buckets: 16 }), [H, D, 8]);
const places = () => device.zeros([1, H, T], "i32");
const staircase = { qRows: places(), kRows: places(), lo: places(), hi: places(), qLo: places(), qHi: places() };
const rule = {
  documents: null,
  qGroups: buckets,
  kGroups: buckets,
  groupCount: 16,
  near: 0,
  far: Infinity,
  chunk: Infinity,
};
const [logits, losses, targets] = [random(T, V), zeros(T), ints(V, T)];
const [param, grad, m, v, norm] = [random(1 << 20), random(1 << 20), zeros(1 << 20), zeros(1 << 20), random(1)];
const control = device.tensor(Float32Array.of(1e-3, 0.1, 0.05, 1), [4]);
const hyper = { maxNorm: 1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 };
const [key, gradScale] = [device.tensor(Int32Array.of(1, 2), [2]), device.tensor(Float32Array.of(1), [1])];
const pass = { epsilon: 1e-5, mean, rstd };

const calls = {
  [`fill ${T}x${C}`]: () => ops.fill({ out, value: 0 }),
  [`copy ${T}x${C}`]: () => ops.copy({ x, out }),
  [`add ${T}x${C}`]: () => ops.add({ x, y: dout, out }),
  [`embed ${T}x${C}`]: () =>
    ops.embed({ tokens, tokenTable: table, positionTable: positions, firstPosition: 0, out: out.view([1, T, C]) }),
  [`embedBackward ${T}x${C}`]: () =>
    ops.embedBackward({ tokens, dout: dout.view([1, T, C]), dTokenTable: table, dPositionTable: positions }),
  [`layerNorm ${T}x${C}`]: () => ops.layerNorm({ x, weight, bias, ...pass, out }),
  [`layerNormBackward ${T}x${C}`]: () =>
    ops.layerNormBackward({ x, weight, mean, rstd, dout, dx: out, dWeight, dBias }),
  [`normalizeRows ${T}x${H}x${D}`]: () => ops.normalizeRows({ x: heads(x), epsilon: 1e-6, out: heads(out) }),
  [`normalizeRowsBackward ${T}x${H}x${D}`]: () =>
    ops.normalizeRowsBackward({ x: heads(x), epsilon: 1e-6, dout: heads(dout), dx: heads(out) }),
  [`rope ${T}x${H}x${D}`]: () => ops.rope({ x: heads(x), base: 1e4, firstPosition: 0, out: heads(out) }),
  [`lshBuckets ${T}x${H}x${D}, 16 buckets`]: () => ops.lshBuckets({ x: heads(x), rotations, out: buckets }),
  [`staircase ${T}x${H}, 16 groups`]: () => ops.staircase({ rule, out: staircase }),
  [`keepMask ${T}x${H}`]: () => ops.keepMask({ key, keep: 0.3, out: buckets }),
  [`softmaxCrossEntropy ${T}x${V}`]: () => ops.softmaxCrossEntropy({ logits, targets, losses, gradScale }),
  "gradNorm 1M": () => ops.gradNorm({ grad, norm }),
  "adamw 1M": () => ops.adamw({ param, grad, m, v, norm, control, ...hyper }),
};
for (const [name, run] of Object.entries(calls))
  console.log(`${(await bestMs(run)).toFixed(3).padStart(8)} ms  ${name}`);
device.dispose();
