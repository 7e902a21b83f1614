import type { Ops } from "../device/ops.ts";
import { row } from "./values.ts";

export const embeddingOps: Pick<Ops, "embed" | "embedBackward"> = {
  embed({ tokens, tokenTable, positionTable, firstPosition, out }) {
    const [B, T] = tokens.shape;
    for (let b = 0; b < B; b++) {
      const ids = row(tokens, b);
      for (let t = 0; t < T; t++) {
        const outRow = row(out, b, t);
        if (!isToken(ids[t], tokenTable.shape[0])) {
          outRow.fill(Number.NaN);
          continue;
        }
        outRow.set(row(tokenTable, ids[t]));
        if (positionTable) addTo(outRow, row(positionTable, firstPosition + t));
      }
    }
  },

  embedBackward({ tokens, dout, dTokenTable, dPositionTable }) {
    const [B, T] = tokens.shape;
    for (let b = 0; b < B; b++) {
      const ids = row(tokens, b);
      for (let t = 0; t < T; t++) {
        if (!isToken(ids[t], dTokenTable.shape[0])) continue;
        addTo(row(dTokenTable, ids[t]), row(dout, b, t));
        if (dPositionTable) addTo(row(dPositionTable, t), row(dout, b, t));
      }
    }
  },
};

function isToken(id: number, V: number): boolean {
  return id >= 0 && id < V;
}

function addTo(target: Float64Array | Float32Array, source: Float64Array | Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += source[i];
}
