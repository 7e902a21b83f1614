import type { Verdict } from "../conformance/case.ts";
import { compare, worstOf } from "../conformance/trial.ts";
import type { Mask } from "../pattern/pattern.ts";
import { attentionBackward, attentionForward, type ReferenceAttention } from "../reference/attention.ts";
import { precisionOf } from "../reference/precision.ts";
import { uniformAt } from "../rng.ts";
import type { BenchInputs, InputName } from "./inputs.ts";

/**
 * What of an attention call is held against the reference: some query rows of some heads, because all of them would cost
 * B * H * Tq * Tk in float64. The upstream gradient is zero in all other rows, so that the gradients of these heads'
 * queries, keys and values follow from the sampled rows alone.
 */
export interface Sample {
  /** Query rows, the same in every head; the last is among them. */
  readonly rows: readonly number[];
  /** Key heads, each with all the query heads that read it. */
  readonly heads: readonly SampledHead[];
}

export interface SampledHead {
  readonly b: number;
  readonly keyHead: number;
}

const SAMPLED_ROWS = 12;
/** Products of one pass over the sample, a second or two of float64: all heads of small calls, a few of large ones. */
const LARGEST_SAMPLE = 2 ** 25;

/** Rows and heads to check, drawn from a seed. */
export function drawSample({ shape: { B, Tq, Tk, H, Hk, D } }: BenchInputs, seed = 1): Sample {
  const drawn = Array.from({ length: SAMPLED_ROWS - 1 }, (_, i) => Math.floor(uniformAt(seed, 1, i) * Tq));
  const rows = [...new Set([...drawn, Tq - 1])].sort((a, b) => a - b);
  const affordable = Math.floor(LARGEST_SAMPLE / (rows.length * Tk * D * (H / Hk)));
  const all = Array.from({ length: B * Hk }, (_, n) => ({ n, order: uniformAt(seed, 2, n) }));
  const chosen = all.sort((x, y) => x.order - y.order).slice(0, Math.max(1, affordable));
  const heads = chosen.sort((x, y) => x.n - y.n).map(({ n }) => ({ b: Math.floor(n / Hk), keyHead: n % Hk }));
  return { rows, heads };
}

/** Reads one output of one sampled head: [Tq, H / Hk, D] of o and dq, [Tk, 1, D] of dk and dv. */
export type ReadHead = (name: "o" | "dq" | "dk" | "dv", head: SampledHead) => Promise<Float32Array>;

/**
 * Holds outputs against the float64 reference on a sample; the budget is twice the error of straightforward attention in
 * the inputs' type plus the floor. A verdict's place counts sampled heads and rows: `o[head, row, h, d]`.
 * @param gradients whether to check dq, dk and dv too
 */
export async function checkSample(
  { inputs, sample, mask }: { inputs: BenchInputs; sample: Sample; mask: Mask },
  read: ReadHead,
  { gradients }: { gradients: boolean },
): Promise<{ forward: Verdict; backward?: Verdict }> {
  const { rows, heads } = sample;
  const { dtype } = inputs;
  const { Tk, H, Hk, D } = inputs.shape;
  const perKeyHead = H / Hk;
  const allKeys = Array.from({ length: Tk }, (_, j) => j);
  const gather = (name: InputName) =>
    concat(
      heads.map(({ b, keyHead }) =>
        name === "q" || name === "dout"
          ? inputs.rows(name, { b, rows, firstHead: keyHead * perKeyHead, headCount: perKeyHead })
          : inputs.rows(name, { b, rows: allKeys, firstHead: keyHead, headCount: 1 }),
      ),
    );
  // Each sampled key head stands as a batch entry of its own.
  const call: ReferenceAttention = {
    shape: { B: heads.length, Tq: rows.length, Tk, H: perKeyHead, Hk: 1, D },
    q: gather("q"),
    k: gather("k"),
    v: gather("v"),
    mask: (n, h, i, j) => mask(heads[n]!.b, heads[n]!.keyHead * perKeyHead + h, rows[i]!, j),
  };
  const plainCall = { ...call, precision: precisionOf[dtype] };
  const [exact, plain] = [attentionForward(call), attentionForward(plainCall)];
  const rowsOf = async (name: "o" | "dq") =>
    concat(await Promise.all(heads.map(async (head) => pickRows(await read(name, head), rows, perKeyHead * D))));
  const keysOf = async (name: "dk" | "dv") => concat(await Promise.all(heads.map((head) => read(name, head))));
  const ofQueries = { dtype, shape: [heads.length, rows.length, perKeyHead, D] };
  const ofKeys = { dtype, shape: [heads.length, Tk, 1, D] };
  const forward = compare("o", ofQueries, await rowsOf("o"), exact.o, plain.o);
  if (!gradients) return { forward };
  const dout = gather("dout");
  const wanted = attentionBackward(call, { o: exact.o, dout });
  const baseline = attentionBackward(plainCall, { o: plain.o, dout });
  const backward = worstOf([
    compare("dq", ofQueries, await rowsOf("dq"), wanted.dq, baseline.dq),
    compare("dk", ofKeys, await keysOf("dk"), wanted.dk, baseline.dk),
    compare("dv", ofKeys, await keysOf("dv"), wanted.dv, baseline.dv),
  ]);
  return { forward, backward };
}

/** The sampled rows of [T, width]. */
function pickRows(x: Float32Array, rows: readonly number[], width: number): Float32Array {
  return concat(rows.map((row) => x.subarray(row * width, (row + 1) * width)));
}

function concat(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
