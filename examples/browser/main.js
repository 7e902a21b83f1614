// Attention in a page on WebGPU, forward and backward, held against plain loops. Serve it with any bundler: npx vite
import { attention, openDevice, pattern } from "scfa";

const [T, D, width] = [40, 16, 8];
const shape = [1, T, 1, D];
const [q, k, v, dout] = [1, 2, 3, 4].map((n) => Float32Array.from({ length: T * D }, (_, i) => Math.sin(n * (i + 1))));

/** Each query sees the last `width` keys: what the device computes, in float64. */
function plainAttention() {
  const [o, dq, dk, dv] = [0, 1, 2, 3].map(() => new Float64Array(T * D));
  const dot = (x, n, y, m) => {
    let sum = 0;
    for (let d = 0; d < D; d++) sum += x[n * D + d] * y[m * D + d];
    return sum;
  };
  for (let n = 0; n < T; n++) {
    const keys = Array.from({ length: Math.min(width, n + 1) }, (_, back) => n - back);
    const weights = keys.map((m) => Math.exp(dot(q, n, k, m) / Math.sqrt(D)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const shares = weights.map((weight) => weight / total);
    for (const [i, m] of keys.entries()) for (let d = 0; d < D; d++) o[n * D + d] += shares[i] * v[m * D + d];
    const delta = dot(dout, n, o, n);
    for (const [i, m] of keys.entries()) {
      const dScore = (shares[i] * (dot(dout, n, v, m) - delta)) / Math.sqrt(D);
      for (let d = 0; d < D; d++) {
        dq[n * D + d] += dScore * k[m * D + d];
        dk[m * D + d] += dScore * q[n * D + d];
        dv[m * D + d] += shares[i] * dout[n * D + d];
      }
    }
  }
  return { o, dq, dk, dv };
}

async function run() {
  const device = await openDevice("webgpu", { tier: "f32" });
  const result = attention(...[q, k, v].map((data) => device.tensor(data, shape)), { pattern: pattern.window(width) });
  const tensors = { o: result.o, ...result.backward(device.tensor(dout, shape)) };
  const expected = plainAttention();
  const lines = [device.description];
  for (const [name, tensor] of Object.entries(tensors)) {
    const values = await tensor.read();
    const worst = Math.max(...values.map((value, i) => Math.abs(value - expected[name][i])));
    lines.push(`${name}: largest difference ${worst.toExponential(1)}, ${worst < 1e-5 ? "pass" : "FAIL"}`);
  }
  device.dispose();
  return lines.join("\n");
}

document.querySelector("#out").textContent = await run().catch((error) => `FAIL ${error}`);
document.title = "done";
