import type { Ops } from "../device/ops.ts";
import type { Tensor } from "../tensor.ts";
import { flat, rows, type Sum } from "./values.ts";

export function productOps(sum: Sum): Pick<Ops, "linear" | "linearBackwardInput" | "linearBackwardWeight"> {
  return {
    linear({ x, w, transposed = false, bias = null, residual = null, preGelu = null, out }) {
      const wAt = weightAt(w, transposed);
      const [I, O] = [x.shape[1], out.shape[1]];
      const biases = bias && flat(bias);
      const residualRows = residual && rows(residual);
      const preRows = preGelu && rows(preGelu);
      const outRows = rows(out);
      rows(x).forEach((xRow, n) => {
        for (let o = 0; o < O; o++) {
          let value = sum(I, (i) => xRow[i] * wAt(i, o)) + (biases ? biases[o] : 0);
          if (preRows) {
            preRows[n][o] = value;
            value = gelu(value);
          }
          outRows[n][o] = value + (residualRows ? residualRows[n][o] : 0);
        }
      });
    },

    linearBackwardInput({ dout, w, transposed = false, preGelu = null, accumulate = false, dx }) {
      const wAt = weightAt(w, transposed);
      const [O, I] = [dout.shape[1], dx.shape[1]];
      const preRows = preGelu && rows(preGelu);
      const dxRows = rows(dx);
      rows(dout).forEach((g, n) => {
        for (let i = 0; i < I; i++) {
          const slope = preRows ? geluSlope(preRows[n][i]) : 1;
          const value = sum(O, (o) => g[o] * wAt(i, o)) * slope;
          dxRows[n][i] = accumulate ? dxRows[n][i] + value : value;
        }
      });
    },

    linearBackwardWeight({ x, dout, transposed = false, dw, dBias = null }) {
      const xRows = rows(x);
      const doutRows = rows(dout);
      const [N, I, O] = [x.shape[0], x.shape[1], dout.shape[1]];
      const gradients = flat(dw);
      const biasGradients = dBias && flat(dBias);
      for (let o = 0; o < O; o++) {
        for (let i = 0; i < I; i++) {
          gradients[transposed ? o * I + i : i * O + o] += sum(N, (n) => xRows[n][i] * doutRows[n][o]);
        }
        if (biasGradients) biasGradients[o] += sum(N, (n) => doutRows[n][o]);
      }
    },
  };
}

function weightAt(w: Tensor, transposed: boolean): (i: number, o: number) => number {
  const values = flat(w);
  const width = w.shape[1];
  return transposed ? (i, o) => values[o * width + i] : (i, o) => values[i * width + o];
}

const sqrt2OverPi = Math.sqrt(2 / Math.PI);

/** 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): the form GPT-2 uses (Hendrycks and Gimpel, arXiv 1606.08415). */
function gelu(x: number): number {
  return 0.5 * x * (1 + Math.tanh(sqrt2OverPi * (x + 0.044715 * x ** 3)));
}

function geluSlope(x: number): number {
  const t = Math.tanh(sqrt2OverPi * (x + 0.044715 * x ** 3));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt2OverPi * (1 + 3 * 0.044715 * x * x);
}
