import type { Verdict } from "../conformance/case.ts";
import { compare, worstOf } from "../conformance/trial.ts";
import type { AttentionShape, Mask } from "../pattern/pattern.ts";
import { attentionBackward, attentionForward, type ReferenceAttention } from "../reference/attention.ts";
import { precisionOf } from "../reference/precision.ts";
import { uniformAt } from "../rng.ts";

/** Inputs of one attention call on the host; shapes as in `ReferenceAttention`. */
export interface HostInputs {
  readonly shape: AttentionShape & { readonly D: number };
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  /** [B, Tq, H, D]; zero but in the sampled rows. */
  readonly dout: Float32Array;
  /** The sampled query rows, the same in every batch entry and head; the last is among them. */
  readonly rows: readonly number[];
}

/** Query rows that are held against the reference: all of them would cost Tq * Tk in float64. */
const sampledRows = 12;

/**
 * Random inputs for a check of some rows: the upstream gradient is zero in all other rows, so that the gradients of all
 * queries, keys and values follow from the sampled rows alone.
 */
export function sampleRows({ Tq, seed }: { Tq: number; seed: number }): number[] {
  const drawn = Array.from({ length: sampledRows - 1 }, (_, i) => Math.floor(uniformAt(seed, 1, i) * Tq));
  return [...new Set([...drawn, Tq - 1])].sort((a, b) => a - b);
}

/** Outputs of a device, or of a peer that has no gradients. */
export interface HostOutputs {
  readonly o: Float32Array;
  readonly gradients?: { readonly dq: Float32Array; readonly dk: Float32Array; readonly dv: Float32Array };
}

/**
 * Holds outputs against the float64 reference on the sampled rows; the budget is twice the error of straightforward
 * float32 attention plus the floor.
 * @param outputs of the same inputs; o is compared in the sampled rows, gradients in all
 */
export function checkRows(
  inputs: HostInputs,
  mask: Mask,
  outputs: HostOutputs,
): { forward: Verdict; backward?: Verdict } {
  const { shape, rows } = inputs;
  const call: ReferenceAttention = {
    shape: { ...shape, Tq: rows.length },
    q: pickRows(inputs.q, inputs),
    k: inputs.k,
    v: inputs.v,
    mask: (b, h, i, j) => mask(b, h, rows[i]!, j),
  };
  const dout = pickRows(inputs.dout, inputs);
  const plainCall = { ...call, precision: precisionOf.f32 };
  const exact = attentionForward(call);
  const plain = attentionForward(plainCall);
  const { B, Tk, H, Hk, D } = shape;
  const qShape = { dtype: "f32" as const, shape: [B, rows.length, H, D] };
  const kShape = { dtype: "f32" as const, shape: [B, Tk, Hk, D] };
  const forward = compare("o", qShape, pickRows(outputs.o, inputs), exact.o, plain.o);
  if (!outputs.gradients) return { forward };
  const { dq, dk, dv } = outputs.gradients;
  const wanted = attentionBackward(call, { o: exact.o, dout });
  const baseline = attentionBackward(plainCall, { o: plain.o, dout });
  const backward = worstOf([
    compare("dq", qShape, pickRows(dq, inputs), wanted.dq, baseline.dq),
    compare("dk", kShape, dk, wanted.dk, baseline.dk),
    compare("dv", kShape, dv, wanted.dv, baseline.dv),
  ]);
  return { forward, backward };
}

/** The sampled rows of [B, Tq, H, D]. */
function pickRows(x: Float32Array, { shape: { B, Tq, H, D }, rows }: HostInputs): Float32Array {
  const size = H * D;
  const picked = new Float32Array(B * rows.length * size);
  for (let b = 0; b < B; b++) {
    for (const [i, row] of rows.entries()) {
      const from = (b * Tq + row) * size;
      picked.set(x.subarray(from, from + size), (b * rows.length + i) * size);
    }
  }
  return picked;
}
