import { PreparedAttention } from "../attention.ts";
import type { Device } from "../device/device.ts";
import type { AttentionShape, Mask, Pattern } from "../pattern/pattern.ts";
import { attentionBackward, attentionForward } from "../reference/attention.ts";
import { precisionOf } from "../reference/precision.ts";
import { normalAt, uniformAt } from "../rng.ts";
import type { DType, FloatType, Tensor } from "../tensor.ts";
import { attentionCases } from "./attentionCases.ts";
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

/** All cases, for every device. @param dtype the type to run in; default each device's compute type */
export function attentionConformance({ dtype }: { dtype?: FloatType } = {}): ConformanceCase[] {
  return attentionCases.map((attentionCase) => ({
    name: `attention: ${attentionCase.name}${dtype ? `, ${dtype}` : ""}`,
    room: "attention",
    run: (device) => runAttentionCase(device, { ...attentionCase, ...(dtype && { dtype }) }),
  }));
}

/**
 * Runs a case on a device, into poisoned outputs, and holds o, lse, dq, dk and dv against the float64 reference: each
 * may err by twice the error of straightforward attention in the same precision, plus 1e-6 (f32) or 1e-3 (f16, bf16) of
 * the largest value. What is not finite must be the same.
 */
export async function runAttentionCase(device: Device, attentionCase: AttentionCase): Promise<Verdict> {
  const dtype = attentionCase.dtype ?? device.capabilities.floatTypes[0];
  const bench = new Bench(device, attentionCase, dtype);
  try {
    const pattern = attentionCase.pattern(bench.inputs);
    const got = await bench.run(pattern);
    const judge = await bench.judge(pattern);
    const exact = judge("exact");
    const straightforward = judge(dtype);
    const written = (["o", "lse", "dq", "dk", "dv"] as const).filter((name) => bench.outputs[name].size > 0);
    return worstOf(
      written.map((name) => compare(name, bench.outputs[name], got[name], exact[name], straightforward[name])),
    );
  } finally {
    bench.dispose();
  }
}

/** The inputs and outputs of one case on one device. */
class Bench {
  readonly inputs: CaseInputs;
  readonly outputs: Record<"o" | "lse" | "dq" | "dk" | "dv", Tensor>;
  readonly #shape: AttentionShape;
  readonly #v: Tensor;
  readonly #dout: Tensor;
  readonly #scale: number;
  readonly #made: Tensor<DType>[] = [];
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
    this.#dout = this.#floats([B, Tq, H, D], normal());
    const [dq, dk, dv] = this.#triple(poison);
    const o = this.#floats([B, Tq, H, D], poison);
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

  /** What the outputs are, computed on the host in a precision of one's choice. */
  async judge(pattern: Pattern) {
    const [q, k, v, dout] = await Promise.all([this.inputs.q, this.inputs.k, this.#v, this.#dout].map((x) => x.read()));
    const shape = { ...this.#shape, D: this.attentionCase.D };
    const mask = tabulate(await pattern.mask(this.#shape), this.#shape);
    return (precision: FloatType | "exact") => {
      const rounding = precision === "exact" ? {} : { precision: precisionOf[precision] };
      const call = { shape, q, k, v, mask, scale: this.#scale, ...rounding };
      const forward = attentionForward(call);
      return { ...forward, ...attentionBackward(call, { o: forward.o, dout }) };
    };
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
        return this.#floats(sizes, (index) => value(index * 3 + n));
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

  /** Rounds on the way in, so that the judge reads what the device computes with. */
  #floats(sizes: readonly number[], value: (n: number) => number, dtype = this.dtype): Tensor {
    const { store } = precisionOf[dtype];
    const data = Float32Array.from({ length: count(sizes) }, (_, n) => store(value(n)));
    return this.#keep(this.device.tensor(data, sizes, dtype));
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
