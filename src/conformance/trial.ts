import type { Device } from "../device/device.ts";
import type { Ops } from "../device/ops.ts";
import { openReferenceDevice, referenceValues } from "../reference/device.ts";
import { roundTo } from "../reference/memoryOps.ts";
import { normalAt, uniformAt } from "../rng.ts";
import type { DType, FloatType, Tensor } from "../tensor.ts";
import type { ConformanceCase, Verdict } from "./case.ts";

/** What a case leaves to compare, by name. */
export type Outputs = Record<string, Tensor<DType>>;

/**
 * One device on which a case is played: makes the same inputs on each, and gives all memory back at the end. Floats are
 * of the type that the device under test computes in, unless another is asked for.
 */
export class Trial {
  readonly ops: Ops;
  readonly #made: Tensor<DType>[] = [];
  #streams = 0;

  constructor(
    readonly device: Device,
    private readonly seed: number,
    /** The type the device under test computes in; inputs hold values of it on every device. */
    private readonly computeType: FloatType,
  ) {
    this.ops = device.ops;
  }

  /** Normal draws, times `scale`, plus `shift`. */
  normal(
    shape: number[],
    { dtype, scale = 1, shift = 0 }: { dtype?: "f32"; scale?: number; shift?: number } = {},
  ): Tensor {
    const stream = this.#streams++;
    return this.floats(shape, (i) => shift + scale * normalAt(this.seed, stream, i), { ...(dtype && { dtype }) });
  }

  /** value(0), value(1), ... in row-major order, rounded to the tensor's type. */
  floats(shape: number[], value: (i: number) => number, { dtype }: { dtype?: FloatType } = {}): Tensor {
    const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) => roundTo(value(i), dtype ?? this.computeType));
    return this.#keep(this.device.tensor(data, shape, dtype ?? this.#ownType));
  }

  ints(shape: number[], value: (i: number) => number): Tensor<"i32"> {
    return this.#keep(
      this.device.tensor(
        Int32Array.from({ length: sizeOf(shape) }, (_, i) => value(i)),
        shape,
      ),
    );
  }

  /** Whole numbers 0 <= n < below, drawn evenly. */
  draws(shape: number[], below: number): Tensor<"i32"> {
    const stream = this.#streams++;
    return this.ints(shape, (i) => Math.floor(uniformAt(this.seed, stream, i) * below));
  }

  /** An output: NaN throughout, so that what an op leaves unwritten shows. */
  poison(shape: number[], { dtype }: { dtype?: FloatType } = {}): Tensor {
    return this.floats(shape, () => Number.NaN, { ...(dtype && { dtype }) });
  }

  /** An output of integers, full of a value that no op gives. */
  poisonInts(shape: number[]): Tensor<"i32"> {
    return this.ints(shape, () => -0x7fffffff);
  }

  dispose(): void {
    for (const tensor of this.#made) tensor.dispose();
  }

  /** The reference computes in what it calls f32, whatever type it stands in for. */
  get #ownType(): FloatType {
    return this.device.capabilities.floatTypes.includes(this.computeType) ? this.computeType : "f32";
  }

  #keep<D extends DType>(tensor: Tensor<D>): Tensor<D> {
    this.#made.push(tensor as unknown as Tensor<DType>);
    return tensor;
  }
}

/**
 * A case that plays the same calls on the device under test, on the float64 reference and on the float32 reference, and
 * allows twice the error of the latter plus a floor: 1e-6 (f32) or 1e-3 (f16, bf16) of the largest value. Integers must
 * be equal, and what is not finite must be the same.
 * @param play makes inputs, calls ops, names what to compare
 * @param exact allow no error at all: for ops that move or round values
 */
export function claim(
  room: string,
  name: string,
  play: (trial: Trial) => Outputs,
  { exact: mustBeExact = false } = {},
): ConformanceCase {
  return {
    name: `${room}: ${name}`,
    room,
    async run(device, computeType = device.capabilities.floatTypes[0]) {
      const seed = seedOf(`${room}: ${name}`);
      const [exact, plain] = [openReferenceDevice(), openReferenceDevice({ precision: "f32" })];
      const trials = [device, exact, plain].map((on) => new Trial(on, seed, computeType));
      try {
        const [tested, expected, baseline] = trials.map(play);
        const verdicts: Verdict[] = [];
        for (const [name, wanted] of Object.entries(expected)) {
          const output = tested[name];
          const actual = await output.read();
          const simple = referenceValues(baseline[name]).map((x) =>
            output.dtype === "i32" ? x : roundTo(x, output.dtype),
          );
          verdicts.push(
            compare(name, output, actual, mustBeExact ? simple : referenceValues(wanted), simple, { mustBeExact }),
          );
        }
        return worstOf(verdicts);
      } finally {
        for (const trial of trials) trial.dispose();
      }
    },
  };
}

/** The verdict with the least room left. */
export function worstOf(verdicts: readonly Verdict[]): Verdict {
  const load = ({ worstError, budget }: Verdict): number => (worstError === 0 ? 0 : worstError / budget);
  return verdicts.reduce((worst, verdict) => (load(verdict) > load(worst) ? verdict : worst));
}

/**
 * Holds one output against the exact values, with the budget that the baseline's error sets.
 * @param baselineError the least that the baseline's error is taken for, where more is known of it than these values
 */
export function compare(
  name: string,
  { dtype, shape }: { dtype: DType; shape: readonly number[] },
  actual: ArrayLike<number>,
  exact: ArrayLike<number>,
  baseline: ArrayLike<number>,
  { mustBeExact = dtype === "i32", baselineError = 0 } = {},
): Verdict {
  let [worstError, worstAt, largest] = [0, 0, 0];
  for (let i = 0; i < exact.length; i++) {
    const error = distance(actual[i], exact[i]);
    if (error > worstError) [worstError, worstAt] = [error, i];
    if (!Number.isFinite(exact[i])) continue;
    baselineError = Math.max(baselineError, distance(baseline[i], exact[i]));
    largest = Math.max(largest, Math.abs(exact[i]));
  }
  const budget = mustBeExact ? 0 : 2 * baselineError + (dtype === "f32" ? 1e-6 : 1e-3) * largest;
  return { pass: worstError <= budget, worstError, budget, where: `${name}[${indexOf(worstAt, shape)}]` };
}

/** 0 for equals, NaN and infinities included; Infinity where only one of the two is finite. */
function distance(actual: number, exact: number): number {
  if (Object.is(actual, exact) || actual === exact) return 0;
  const error = Math.abs(actual - exact);
  return Number.isFinite(error) ? error : Number.POSITIVE_INFINITY;
}

function indexOf(flat: number, shape: readonly number[]): string {
  let rest = flat;
  return shape
    .map((_, axis) => {
      const inner = sizeOf(shape.slice(axis + 1));
      const index = Math.floor(rest / inner);
      rest -= index * inner;
      return index;
    })
    .join(",");
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((n, d) => n * d, 1);
}

/** FNV-1a: each case draws by its own name. */
export function seedOf(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}
