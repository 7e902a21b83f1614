import type { Ops } from "../device/ops.ts";
import type { Tensor } from "../tensor.ts";
import { type Arithmetic, columns, flat, type Numbers, rows } from "./values.ts";

type ProductOps = Pick<Ops, "linear" | "linearBackwardInput" | "linearBackwardWeight">;

export function productOps({ sum, dot }: Arithmetic): ProductOps {
  return {
    linear({ x, w, transposed = false, bias = null, residual = null, preGelu = null, out }) {
      const weights = weightsByOutput(w, transposed);
      const biases = bias && flat(bias);
      const residualRows = residual && rows(residual);
      const preRows = preGelu && rows(preGelu);
      const outRows = rows(out);
      rows(x).forEach((xRow, n) => {
        weights.forEach((weight, o) => {
          let value = dot(xRow, weight) + (biases ? biases[o] : 0);
          if (preRows) {
            preRows[n][o] = value;
            value = gelu(value);
          }
          outRows[n][o] = value + (residualRows ? residualRows[n][o] : 0);
        });
      });
    },

    linearBackwardInput({ dout, w, transposed = false, preGelu = null, accumulate = false, dx }) {
      const weights = weightsByOutput(w, !transposed);
      const preRows = preGelu && rows(preGelu);
      const dxRows = rows(dx);
      rows(dout).forEach((g, n) => {
        weights.forEach((weight, i) => {
          const value = dot(g, weight) * (preRows ? geluSlope(preRows[n][i]) : 1);
          dxRows[n][i] = accumulate ? dxRows[n][i] + value : value;
        });
      });
    },

    linearBackwardWeight({ x, dout, transposed = false, dw, dBias = null }) {
      const N = x.shape[0];
      const xColumns = columns(x);
      const doutColumns = columns(dout);
      const gradients = rows(dw);
      const biasGradients = dBias && flat(dBias);
      doutColumns.forEach((g, o) => {
        xColumns.forEach((xColumn, i) => {
          if (transposed) gradients[o][i] += dot(xColumn, g);
          else gradients[i][o] += dot(xColumn, g);
        });
        if (biasGradients) biasGradients[o] += sum(N, (n) => g[n]);
      });
    },
  };
}

/** For each output feature, the weights of all inputs. */
function weightsByOutput(w: Tensor, transposed: boolean): Numbers[] {
  return transposed ? rows(w) : columns(w);
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
