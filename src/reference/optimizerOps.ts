import type { Ops } from "../device/ops.ts";
import { roundTo } from "./memoryOps.ts";
import { type Arithmetic, flat, maximum, rows } from "./values.ts";

export function optimizerOps({ sum, dot }: Arithmetic): Pick<Ops, "softmaxCrossEntropy" | "gradNorm" | "adamw"> {
  return {
    softmaxCrossEntropy({ logits, targets, losses, gradScale }) {
      const V = logits.shape[1];
      const ids = flat(targets);
      const lossAt = flat(losses);
      const scale = gradScale ? flat(gradScale)[0] : null;
      rows(logits).forEach((z, n) => {
        const target = ids[n];
        const ignored = target === -1;
        const valid = target >= 0 && target < V;
        const largest = maximum(z);
        const logSumExp = largest + Math.log(sum(V, (i) => Math.exp(z[i] - largest)));
        lossAt[n] = ignored ? 0 : valid ? logSumExp - z[target] : Number.NaN;
        if (scale === null) return;
        const finite = Number.isFinite(lossAt[n]);
        for (let i = 0; i < V; i++) {
          const gradient = (Math.exp(z[i] - logSumExp) - (i === target ? 1 : 0)) * scale;
          z[i] = ignored ? 0 : finite ? gradient : Number.NaN;
        }
      });
    },

    gradNorm({ grad, norm }) {
      const g = flat(grad);
      flat(norm)[0] = Math.sqrt(dot(g, g));
    },

    adamw({ param, computed, grad, m, v, norm, control, maxNorm, beta1, beta2, epsilon, weightDecay }) {
      const [learningRate, correction1, correction2, factor] = flat(control);
      const length = flat(norm)[0];
      if (!Number.isFinite(length)) return;
      const scale = factor * Math.min(1, maxNorm / (factor * length));
      const [p, g, m1, m2] = [flat(param), flat(grad), flat(m), flat(v)];
      for (let i = 0; i < p.length; i++) {
        const gradient = g[i] * scale;
        m1[i] = beta1 * m1[i] + (1 - beta1) * gradient;
        m2[i] = beta2 * m2[i] + (1 - beta2) * gradient * gradient;
        const step = m1[i] / correction1 / (Math.sqrt(m2[i] / correction2) + epsilon);
        p[i] -= learningRate * (step + weightDecay * p[i]);
      }
      // Where it is param itself, nothing is rounded: that would spoil the float64 values.
      if (computed && computed.storage !== param.storage) {
        flat(computed).set(p.map((value) => roundTo(value, computed.dtype)));
      }
    },
  };
}
