import type { Ops } from "../device/ops.ts";
import { type Arithmetic, flat, type Numbers, rows } from "./values.ts";

type NormalisationOps = Pick<Ops, "layerNorm" | "layerNormBackward" | "normalizeRows" | "normalizeRowsBackward">;

export function normalisationOps({ sum, dot }: Arithmetic): NormalisationOps {
  const length = (x: Numbers): number => Math.sqrt(dot(x, x));

  return {
    layerNorm({ x, weight, bias, epsilon, out, mean, rstd }) {
      const C = weight.size;
      const w = flat(weight);
      const offset = bias && flat(bias);
      const means = flat(mean);
      const rstds = flat(rstd);
      const outRows = rows(out);
      rows(x).forEach((xRow, n) => {
        const mu = sum(C, (i) => xRow[i]) / C;
        const variance = sum(C, (i) => (xRow[i] - mu) ** 2) / C;
        means[n] = mu;
        rstds[n] = 1 / Math.sqrt(variance + epsilon);
        for (let i = 0; i < C; i++) outRows[n][i] = (xRow[i] - mu) * rstds[n] * w[i] + (offset ? offset[i] : 0);
      });
    },

    layerNormBackward({ x, weight, mean, rstd, dout, dx, dWeight, dBias }) {
      const C = weight.size;
      const w = flat(weight);
      const means = flat(mean);
      const rstds = flat(rstd);
      const dw = flat(dWeight);
      const db = dBias && flat(dBias);
      const doutRows = rows(dout);
      const dxRows = rows(dx);
      rows(x).forEach((xRow, n) => {
        const g = doutRows[n];
        const xHat = (i: number): number => (xRow[i] - means[n]) * rstds[n];
        const meanG = sum(C, (i) => g[i] * w[i]) / C;
        const meanGX = sum(C, (i) => g[i] * w[i] * xHat(i)) / C;
        for (let i = 0; i < C; i++) {
          dxRows[n][i] += rstds[n] * (g[i] * w[i] - meanG - xHat(i) * meanGX);
          dw[i] += g[i] * xHat(i);
          if (db) db[i] += g[i];
        }
      });
    },

    normalizeRows({ x, epsilon, out }) {
      const outRows = rows(out);
      rows(x).forEach((xRow, n) => {
        const divisor = Math.max(length(xRow), epsilon);
        for (let i = 0; i < xRow.length; i++) outRows[n][i] = xRow[i] / divisor;
      });
    },

    normalizeRowsBackward({ x, epsilon, dout, dx }) {
      const doutRows = rows(dout);
      const dxRows = rows(dx);
      rows(x).forEach((xRow, n) => {
        const g = doutRows[n];
        const size = length(xRow);
        const divisor = Math.max(size, epsilon);
        // Below epsilon the divisor is constant, so only the direct term is left.
        const along = size > epsilon ? sum(xRow.length, (i) => (xRow[i] / divisor) * g[i]) : 0;
        for (let i = 0; i < xRow.length; i++) dxRows[n][i] += (g[i] - (xRow[i] / divisor) * along) / divisor;
      });
    },
  };
}
