import { PreparedAttention } from "../attention.ts";
import type { Device } from "../device/device.ts";
import type { AttentionShape, Mask, Pattern } from "../pattern/pattern.ts";
import { precisionOf } from "../reference/precision.ts";
import { normalAt, uniformAt } from "../rng.ts";
import type { DType, FloatType, Tensor } from "../tensor.ts";
import { attentionCases } from "./attentionCases.ts";
import { AttentionJudge, type OutputName, outputNames } from "./attentionJudge.ts";
import type { ConformanceCase, Verdict } from "./case.ts";
import { compare, worstOf } from "./trial.ts";

/** One call of attention, forward and backward, on random inputs that its seed fixes. */
export interface AttentionCase extends AttentionShape {
  /** The claim, unique in its list. */
  readonly name: string;
  readonly D: number;
  readonly seed: number;
  readonly pattern: (inputs: CaseInputs) => Pattern;
  /** Type of q, k, v, o and the gradients; default the device's compute type. */
  readonly dtype?: FloatType;
  /** Default 1 / sqrt(D). */
  readonly scale?: number;
  /** q, k and v, and their gradients, are views of one [B, T, (H + 2 Hk) D] tensor each; needs Tq = Tk. */
  readonly oneProjection?: boolean;
  /**
   * Elements between the rows of two heads, and as many between two positions, in q, k, v, o, dout and the gradients:
   * NaN in inputs, and outputs must leave them alone. Default 0.
   */
  readonly rowPadding?: number;
}

/** What a pattern is made from. */
export interface CaseInputs extends AttentionShape {
  readonly q: Tensor;
  readonly k: Tensor;
  /** A tensor of value(u), one u for each element, u drawn evenly from 0 < u < 1; given back after the case. */
  ints(sizes: readonly number[], value: (u: number) => number): Tensor<"i32">;
  /** Has a tensor that the pattern made given back after the case. */
  keep(tensor: Tensor<"i32">): Tensor<"i32">;
}

/** All cases, for every device. */
export function attentionConformance(): ConformanceCase[] {
  return attentionCases.map((attentionCase) => ({
    name: `attention: ${attentionCase.name}`,
    room: "attention",
    run: (device, dtype) => runAttentionCase(device, { ...attentionCase, ...(dtype && { dtype }) }),
  }));
}

/**
 * Runs a case on a device, into poisoned outputs, and holds o, lse, dq, dk and dv against the float64 reference: each
 * may err by twice the error of straightforward attention in the same precision, plus 1e-6 (f32) or 1e-3 (f16, bf16) of
 * the largest value. What is not finite must be the same.
 * @param redraw whether an output that misses is held once more against the baseline's error in sixteen other roundings
 *   of the case: for cases that nobody chose, thousands of them, where that of one rounding is a matter of luck
 */
export async function runAttentionCase(
  device: Device,
  attentionCase: AttentionCase,
  { redraw = false } = {},
): Promise<Verdict> {
  const dtype = attentionCase.dtype ?? device.capabilities.floatTypes[0];
  const bench = new Bench(device, attentionCase, dtype);
  try {
    const pattern = attentionCase.pattern(bench.inputs);
    const got = await bench.run(pattern);
    const judge = await bench.judge(pattern);
    const { exact, straightforward } = judge;
    const written = outputNames.filter((name) => bench.outputs[name].size > 0);
    const held = (name: OutputName, more = {}) =>
      compare(name, bench.outputs[name], got[name], exact[name], straightforward[name], more);
    const verdicts = written.map((name) => {
      const verdict = held(name);
      if (verdict.pass || !redraw) return verdict;
      return held(name, { baselineError: judge.redrawnError(name) });
    });
    return worstOf([...verdicts, ...(await bench.judgeGaps())]);
  } finally {
    bench.dispose();
  }
}

/** The inputs and outputs of one case on one device. */
class Bench {
  readonly inputs: CaseInputs;
  readonly outputs: Record<OutputName, Tensor>;
  readonly #shape: AttentionShape;
  readonly #v: Tensor;
  readonly #dout: Tensor;
  readonly #scale: number;
  readonly #made: Tensor<DType>[] = [];
  /** Padded tensors, whole, with the view that is used of each. */
  readonly #padded = new Map<Tensor, Tensor>();
  #streams = 0;

  constructor(
    readonly device: Device,
    readonly attentionCase: AttentionCase,
    readonly dtype: FloatType,
  ) {
    const { B, Tq, Tk, H, Hk, D, scale, seed } = attentionCase;
    this.#shape = { B, Tq, Tk, H, Hk };
    this.#scale = scale ?? 1 / Math.sqrt(D);
    const normal = () => this.#next((stream, n) => normalAt(seed, stream, n));
    const poison = () => Number.NaN;
    const [q, k, v] = this.#triple(normal());
    this.#v = v;
    this.#dout = this.#rows([B, Tq, H, D], normal());
    const [dq, dk, dv] = this.#triple(poison);
    const o = this.#rows([B, Tq, H, D], poison);
    const lse = this.#floats([B, H, Tq], poison, "f32");
    this.outputs = { o, lse, dq, dk, dv };
    this.inputs = {
      ...{ ...this.#shape, q, k },
      ints: (sizes, value) => this.#ints(sizes, value),
      keep: (tensor) => this.#keep(tensor),
    };
  }

  async run(pattern: Pattern) {
    const prepared = new PreparedAttention(this.device, { shape: this.#shape, pattern, scale: this.#scale });
    try {
      const tensors = { q: this.inputs.q, k: this.inputs.k, v: this.#v, ...this.outputs };
      prepared.forward(tensors);
      prepared.backward({ ...tensors, dout: this.#dout });
      const { o, lse, dq, dk, dv } = this.outputs;
      return {
        o: await o.read(),
        lse: await lse.read(),
        dq: await dq.read(),
        dk: await dk.read(),
        dv: await dv.read(),
      };
    } finally {
      prepared.dispose();
    }
  }

  /** Who knows what the outputs are. */
  async judge(pattern: Pattern): Promise<AttentionJudge> {
    const [q, k, v, dout] = await Promise.all([this.inputs.q, this.inputs.k, this.#v, this.#dout].map((x) => x.read()));
    const shape = { ...this.#shape, D: this.attentionCase.D };
    const mask = tabulate(await pattern.mask(this.#shape), this.#shape);
    return new AttentionJudge({ shape, q, k, v, dout, mask, scale: this.#scale }, this.dtype);
  }

  /** A verdict for each padded output: what lies between its rows must still be NaN. */
  async judgeGaps(): Promise<Verdict[]> {
    const verdicts: Verdict[] = [];
    for (const name of ["o", "dq", "dk", "dv"] as const) {
      const view = this.outputs[name];
      const whole = this.#padded.get(view);
      if (!whole) continue;
      const found = await whole.read();
      const isGap = new Uint8Array(found.length).fill(1);
      forEachRow(view, (from) => isGap.fill(0, from, from + this.attentionCase.D));
      const gaps = found.filter((_, n) => isGap[n] === 1);
      const untouched = gaps.map(() => Number.NaN);
      const shape = { dtype: view.dtype, shape: [gaps.length] };
      verdicts.push(compare(`gaps of ${name}`, shape, gaps, untouched, untouched, { mustBeExact: true }));
    }
    return verdicts;
  }

  dispose(): void {
    for (const tensor of this.#made) tensor.dispose();
  }

  #ints(sizes: readonly number[], value: (u: number) => number): Tensor<"i32"> {
    const draw = this.#next((stream, n) => value(uniformAt(this.attentionCase.seed, stream, n)));
    const data = Int32Array.from({ length: count(sizes) }, (_, n) => draw(n));
    return this.#keep(this.device.tensor(data, sizes));
  }

  #keep<T extends DType>(tensor: Tensor<T>): Tensor<T> {
    this.#made.push(tensor as unknown as Tensor<DType>);
    return tensor;
  }

  /** Something drawn from a stream that nothing else draws from. */
  #next(value: (stream: number, n: number) => number): (n: number) => number {
    const stream = this.#streams++;
    return (n) => value(stream, n);
  }

  /** Tensors like q, k and v, in the layout that the case asks for. */
  #triple(value: (n: number) => number): [Tensor, Tensor, Tensor] {
    const { B, Tq, Tk, H, Hk, D, oneProjection } = this.attentionCase;
    const heads = [H, Hk, Hk];
    if (!oneProjection) {
      const [q, k, v] = heads.map((h, n) => {
        const sizes = [B, n === 0 ? Tq : Tk, h, D];
        return this.#rows(sizes, (index) => value(index * 3 + n));
      });
      return [q, k, v];
    }
    const width = (H + 2 * Hk) * D;
    const all = this.#floats([B, Tq, width], value);
    const strides = [Tq * width, width, D, 1];
    const [q, k, v] = heads.map((h, n) =>
      all.view([B, Tq, h, D], { strides, offset: n === 0 ? 0 : (H + (n - 1) * Hk) * D }),
    );
    return [q, k, v];
  }

  /** A [B, T, heads, D] tensor, as a view of a larger one if the case asks for space between the rows. */
  #rows([B, T, heads, D]: number[], value: (n: number) => number): Tensor {
    const gap = this.attentionCase.rowPadding ?? 0;
    if (gap === 0) return this.#floats([B, T, heads, D], value);
    const perPosition = heads * (D + gap) + gap;
    const strides = [T * perPosition, perPosition, D + gap, 1];
    const values = new Float32Array(B * T * perPosition + gap).fill(Number.NaN);
    let n = 0;
    forEachRow({ shape: [B, T, heads, D], strides, offset: gap }, (from) => {
      for (let d = 0; d < D; d++) values[from + d] = value(n++);
    });
    const whole = this.#floats([values.length], (at) => values[at]);
    const view = whole.view([B, T, heads, D], { strides, offset: gap });
    this.#padded.set(view, whole);
    return view;
  }

  /** Rounds on the way in, so that the judge reads what the device computes with. */
  #floats(sizes: readonly number[], value: (n: number) => number, dtype = this.dtype): Tensor {
    const { store } = precisionOf[dtype];
    const data = new Float32Array(count(sizes));
    for (let n = 0; n < data.length; n++) data[n] = store(value(n));
    return this.#keep(this.device.tensor(data, sizes, dtype));
  }
}

/** Calls back with where each row of a [B, T, heads, D] view begins, in row-major order. */
function forEachRow(
  { shape: [B, T, heads], strides, offset }: Pick<Tensor, "shape" | "strides" | "offset">,
  visit: (from: number) => void,
): void {
  for (let b = 0; b < B; b++) {
    for (let t = 0; t < T; t++) {
      for (let h = 0; h < heads; h++) visit(offset + b * strides[0] + t * strides[1] + h * strides[2]);
    }
  }
}

/** The same mask as a table: the judges ask for each pair four times. */
function tabulate(mask: Mask, { B, H, Tq, Tk }: AttentionShape): Mask {
  const index = (b: number, h: number, i: number, j: number) => ((b * H + h) * Tq + i) * Tk + j;
  const table = new Uint8Array(B * H * Tq * Tk);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (let i = 0; i < Tq; i++) {
        for (let j = 0; j < Tk; j++) table[index(b, h, i, j)] = mask(b, h, i, j) ? 1 : 0;
      }
    }
  }
  return (b, h, i, j) => table[index(b, h, i, j)] === 1;
}

function count(sizes: readonly number[]): number {
  return sizes.reduce((n, d) => n * d, 1);
}
