import type { AttentionShape, Mask } from "../pattern/pattern.ts";
import { attentionBackward, attentionForward } from "../reference/attention.ts";
import { precisionOf } from "../reference/precision.ts";
import type { FloatType } from "../tensor.ts";

/** What attention gives, forward and backward. */
export const outputNames = ["o", "lse", "dq", "dk", "dv"] as const;
export type OutputName = (typeof outputNames)[number];
type Values = Record<OutputName, Float64Array>;

/** A call of attention as arrays, row-major. */
export interface JudgedCall {
  readonly shape: AttentionShape & { readonly D: number };
  /** [B, Tq, H, D] */
  readonly q: Float32Array;
  /** [B, Tk, Hk, D] */
  readonly k: Float32Array;
  /** [B, Tk, Hk, D] */
  readonly v: Float32Array;
  /** [B, Tq, H, D] */
  readonly dout: Float32Array;
  readonly mask: Mask;
  readonly scale: number;
}

/** How often the baseline rounds anew. */
const roundings = 16;

/** Computes a call on the host: exactly, and straightforwardly in the precision that a device is judged in. */
export class AttentionJudge {
  readonly exact: Values;
  readonly straightforward: Values;
  readonly #call: JudgedCall;
  readonly #dtype: FloatType;
  #errors: Record<OutputName, number> | undefined;

  constructor(call: JudgedCall, dtype: FloatType) {
    this.#call = call;
    this.#dtype = dtype;
    this.exact = compute(call);
    this.straightforward = compute(call, dtype);
  }

  /**
   * The error of straightforward attention, estimated by the largest of sixteen roundings of the same problem. The largest
   * error of a tiny case is that of a few roundings, and one draw of it may be lucky. With v times c and dout over c, q
   * times c and the scale over c, all rounded to the type, every number on the way is rounded elsewhere, and the outputs
   * are those of the case times powers of c; each problem is held against its own exact values.
   */
  redrawnError(name: OutputName): number {
    this.#errors ??= this.#redraw();
    return this.#errors[name];
  }

  #redraw(): Record<OutputName, number> {
    const { store } = precisionOf[this.#dtype];
    const times = (x: Float32Array, factor: number) => x.map((value) => store(value * factor));
    const errors = { o: 0, lse: 0, dq: 0, dk: 0, dv: 0 };
    for (let n = 0; n < roundings; n++) {
      const c = 1 + (2 * n + 1) / (2 * roundings);
      const { q, v, dout, scale } = this.#call;
      const scaled = { q: times(q, c), v: times(v, c), dout: times(dout, 1 / c), scale: scale / c };
      const call = { ...this.#call, ...scaled };
      const [exact, plain] = [compute(call), compute(call, this.#dtype)];
      const undo = { o: 1 / c, lse: 1, dq: c, dk: 1, dv: c };
      for (const name of outputNames) {
        errors[name] = Math.max(errors[name], undo[name] * largestDistance(plain[name], exact[name]));
      }
    }
    return errors;
  }
}

function compute({ dout, ...rest }: JudgedCall, dtype?: FloatType): Values {
  const call = { ...rest, ...(dtype && { precision: precisionOf[dtype] }) };
  const forward = attentionForward(call);
  return { ...forward, ...attentionBackward(call, { o: forward.o, dout }) };
}

/** Over what is finite. */
function largestDistance(x: Float64Array, y: Float64Array): number {
  let largest = 0;
  for (let n = 0; n < y.length; n++) if (Number.isFinite(y[n])) largest = Math.max(largest, Math.abs(x[n]! - y[n]!));
  return largest;
}
