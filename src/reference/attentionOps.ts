import type { Ops } from "../device/ops.ts";
import type { Staircase } from "../staircase/staircase.ts";
import { type Arithmetic, broadcastRow, maximum, row, rows } from "./values.ts";

type AttentionOps = Pick<Ops, "attentionForward" | "attentionDelta" | "attentionBackward">;

export function attentionOps({ sum, dot }: Arithmetic): AttentionOps {
  return {
    attentionForward({ q, k, v, staircase, scale, merge = false, o, lse }) {
      forEachQuery(q.shape, k.shape[2], staircase, ({ b, h, i, hk, keyRows }) => {
        const qRow = row(q, b, i, h);
        const oRow = row(o, b, i, h);
        const lseRow = row(lse, b, h);
        const scores = keyRows.map((j) => scale * dot(qRow, row(k, b, j, hk)));
        const largest = maximum(scores);
        const partLse = keyRows.length
          ? largest + Math.log(sum(scores.length, (n) => Math.exp(scores[n] - largest)))
          : Number.NEGATIVE_INFINITY;
        const oldLse = merge ? lseRow[i] : Number.NEGATIVE_INFINITY;
        const newLse = logAddExp(oldLse, partLse);
        const keep = oldLse === Number.NEGATIVE_INFINITY ? 0 : Math.exp(oldLse - newLse);
        const weights = scores.map((s) => Math.exp(s - newLse));
        for (let d = 0; d < oRow.length; d++) {
          const fresh = sum(weights.length, (n) => weights[n] * row(v, b, keyRows[n], hk)[d]);
          oRow[d] = keep > 0 ? keep * oRow[d] + fresh : fresh;
        }
        lseRow[i] = newLse;
      });
    },

    attentionDelta({ o, dout, delta }) {
      const [B, Tq, H] = o.shape;
      for (let b = 0; b < B; b++) {
        for (let h = 0; h < H; h++) {
          for (let i = 0; i < Tq; i++) row(delta, b, h)[i] = dot(row(o, b, i, h), row(dout, b, i, h));
        }
      }
    },

    attentionBackward({ q, k, v, staircase, scale, lse, delta, o, dout, accumulateQ, accumulateKV, dq, dk, dv }) {
      if (!accumulateQ) for (const r of rows(dq)) r.fill(0);
      if (!accumulateKV) for (const r of [...rows(dk), ...rows(dv)]) r.fill(0);
      forEachQuery(q.shape, k.shape[2], staircase, ({ b, h, i, hk, keyRows }) => {
        const qRow = row(q, b, i, h);
        const gRow = row(dout, b, i, h);
        const dqRow = row(dq, b, i, h);
        const lseAt = row(lse, b, h)[i];
        const deltaAt = delta ? row(delta, b, h)[i] : dot(row(o!, b, i, h), gRow);
        for (const j of keyRows) {
          const [kRow, vRow] = [row(k, b, j, hk), row(v, b, j, hk)];
          const [dkRow, dvRow] = [row(dk, b, j, hk), row(dv, b, j, hk)];
          const p = Math.exp(scale * dot(qRow, kRow) - lseAt);
          const ds = p * (dot(gRow, vRow) - deltaAt) * scale;
          for (let d = 0; d < qRow.length; d++) {
            dqRow[d] += ds * kRow[d];
            dkRow[d] += ds * qRow[d];
            dvRow[d] += p * gRow[d];
          }
        }
      });
    },
  };
}

/** Calls back for each query row with the rows of the keys it sees. */
function forEachQuery(
  [B, Tq, H]: readonly number[],
  Hk: number,
  { qRows, kRows, lo, hi }: Staircase,
  visit: (query: { b: number; h: number; i: number; hk: number; keyRows: number[] }) => void,
): void {
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      const hk = Math.floor((h * Hk) / H);
      const queryAt = qRows && broadcastRow(qRows, b, h);
      const keyAt = kRows && broadcastRow(kRows, b, hk);
      const [first, end] = [broadcastRow(lo, b, h), broadcastRow(hi, b, h)];
      for (let n = 0; n < Tq; n++) {
        const places = Array.from({ length: end[n] - first[n] }, (_, m) => first[n] + m);
        const keyRows = keyAt ? places.map((m) => keyAt[m]) : places;
        visit({ b, h, i: queryAt ? queryAt[n] : n, hk, keyRows });
      }
    }
  }
}

/** log(exp(x) + exp(y)), where -Infinity stands for nothing. */
function logAddExp(x: number, y: number): number {
  const largest = Math.max(x, y);
  if (largest === Number.NEGATIVE_INFINITY) return largest;
  return largest + Math.log(Math.exp(x - largest) + Math.exp(y - largest));
}
