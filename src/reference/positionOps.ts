import type { Ops } from "../device/ops.ts";
import { row } from "./values.ts";

export const positionOps: Pick<Ops, "rope"> = {
  rope({ x, base, firstPosition, inverse = false, out }) {
    const [B, T, H, D] = x.shape;
    for (let b = 0; b < B; b++) {
      for (let t = 0; t < T; t++) {
        for (let h = 0; h < H; h++) {
          const xRow = row(x, b, t, h);
          const outRow = row(out, b, t, h);
          for (let i = 0; i < D / 2; i++) {
            const angle = (inverse ? -1 : 1) * (firstPosition + t) * base ** ((-2 * i) / D);
            const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
            const [low, high] = [xRow[i], xRow[i + D / 2]];
            outRow[i] = low * cos - high * sin;
            outRow[i + D / 2] = high * cos + low * sin;
          }
        }
      }
    }
  },
};
