import {
  type Device,
  type FloatType,
  type Pattern,
  PreparedAttention,
  pattern,
  sharedRotations,
  type Tensor,
} from "scfa";
import { Random } from "../ui/random.ts";
import type { Point, Settings } from "./result.ts";

/** Times dense and sparse attention on a device for growing T. One batch entry; keys share their queries' buckets. */

/** Runs before the measured ones: kernels are compiled in the first, and a device may record the second. */
const UNMEASURED = 2;
const ROUNDS = 5;
const SHORTEST = 256;

/**
 * Measures until T is `settings.longest`, or the next step is expected to take longer than `settings.limitMs`.
 * @param onPoint gets each pattern's times as they come
 */
export async function measureGrowing(
  device: Device,
  settings: Settings,
  { onPoint, onProgress }: { onPoint: (point: Point) => void; onProgress: (what: string) => void },
): Promise<void> {
  let names = ["dense", settings.sparse];
  for (let T = SHORTEST; T <= settings.longest && names.length > 0; T *= 2) {
    onProgress(`${T} tokens`);
    const points = await measureAt(device, T, settings, names);
    for (const point of points) onPoint(point);
    // Dense work grows by four where T doubles; sparse work by less, so that it may go on alone.
    const affordable = points.filter(({ forwardMs, backwardMs }) => 4 * (forwardMs + backwardMs) < settings.limitMs);
    names = affordable.map((point) => point.pattern);
  }
}

/** The patterns' times at one T, taken in turns, so that what the machine does meanwhile hits all alike. */
async function measureAt(
  device: Device,
  T: number,
  { H, D, limitMs }: Settings,
  names: readonly string[],
): Promise<Point[]> {
  const dtype = device.capabilities.floatTypes[0]!;
  const tensors = new CallTensors(device, { T, H, D, dtype });
  const runs: Run[] = [];
  try {
    for (const name of names) runs.push(new Run(tensors, name));
    const times = runs.map(() => ({ forward: [] as number[], backward: [] as number[] }));
    const start = performance.now();
    for (let round = -UNMEASURED; round < ROUNDS; round++) {
      for (const [i, run] of runs.entries()) {
        const forward = await device.time(() => run.forward());
        const backward = await device.time(() => run.backward());
        if (round < 0) continue;
        times[i]!.forward.push(forward);
        times[i]!.backward.push(backward);
      }
      // A slow machine gets fewer rounds than five, but one at the least.
      if (round >= 0 && performance.now() - start > 4 * limitMs) break;
    }
    const points: Point[] = [];
    for (const [i, run] of runs.entries()) {
      const [forwardMs, backwardMs] = [median(times[i]!.forward), median(times[i]!.backward)];
      points.push({ T, pattern: run.name, dtype, forwardMs, backwardMs, ...(await run.check()) });
    }
    return points;
  } finally {
    for (const run of runs) run.dispose();
    tensors.dispose();
  }
}

/** Inputs and outputs; patterns take turns with them. q, k, v, dout, o, dq, dk, dv are [1, T, H, D]. */
class CallTensors {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly dout: Tensor;
  readonly o: Tensor;
  readonly dq: Tensor;
  readonly dk: Tensor;
  readonly dv: Tensor;
  readonly lse: Tensor;

  constructor(
    readonly device: Device,
    readonly sizes: { readonly T: number; readonly H: number; readonly D: number; readonly dtype: FloatType },
  ) {
    const { T, H, D, dtype } = sizes;
    const shape = [1, T, H, D];
    const given = (seed: number) => {
      const random = new Random(seed);
      return device.tensor(
        Float32Array.from({ length: T * H * D }, () => random.normal()),
        shape,
        dtype,
      );
    };
    const made = () => device.empty(shape, dtype);
    [this.q, this.k, this.v, this.dout] = [given(1), given(2), given(3), given(4)];
    [this.o, this.dq, this.dk, this.dv] = [made(), made(), made(), made()];
    this.lse = device.empty([1, H, T]);
  }

  dispose(): void {
    const { q, k, v, dout, o, dq, dk, dv, lse } = this;
    for (const tensor of [q, k, v, dout, o, dq, dk, dv, lse]) tensor.dispose();
  }
}

/** One pattern over the tensors: the whole operation, with hashing and staircase, as a training step runs it. */
class Run {
  readonly forward: () => void;
  readonly backward: () => void;
  readonly #pattern: Pattern;
  readonly #visiblePairs: () => Promise<number>;
  readonly #dispose: () => void;

  constructor(
    readonly tensors: CallTensors,
    readonly name: string,
  ) {
    const { device, q, sizes } = tensors;
    const { T, H, D } = sizes;
    const held: { dispose(): void }[] = [];
    const keep = <X extends { dispose(): void }>(one: X): X => {
      held.push(one);
      return one;
    };
    const [, kind, number] = /^(\w+)(?:\((\d+)\))?$/.exec(name)!;
    let choose = () => {};
    if (kind === "hash") {
      const buckets = Number(number);
      const rotations = keep(device.tensor(sharedRotations({ buckets, seed: 1, H, D }), [H, D, buckets / 2]));
      const out = keep(device.zeros([1, T, H], "i32"));
      choose = () => device.ops.lshBuckets({ x: q, rotations, moments: null, out });
      choose();
      this.#pattern = pattern.hash({ qBuckets: out, kBuckets: out, buckets });
    } else {
      this.#pattern = kind === "window" ? pattern.window(Number(number)) : pattern.dense();
    }
    const shape = { B: 1, Tq: T, Tk: T, H, Hk: H };
    const prepared = keep(new PreparedAttention(device, { shape, pattern: this.#pattern, scale: 1 / Math.sqrt(D) }));
    const forward = keep(
      device.record(() => {
        choose();
        prepared.build();
        prepared.forward(tensors);
      }),
    );
    const backward = keep(device.record(() => prepared.backward(tensors)));
    this.forward = () => forward.replay();
    this.backward = () => backward.replay();
    this.#visiblePairs = () => prepared.visiblePairs();
    this.#dispose = () => {
      for (const one of held.reverse()) one.dispose();
    };
  }

  /**
   * Holds some rows of the last head's output against a plain computation in float64.
   * @returns the largest difference, relative to the largest value; and the share of pairs that are visible
   */
  async check(): Promise<Pick<Point, "worstDifference" | "visibleShare">> {
    const { T, H, D } = this.tensors.sizes;
    this.tensors.device.ops.fill({ out: this.tensors.o, value: Number.NaN });
    this.forward();
    const h = H - 1;
    const [q, k, v, o] = await Promise.all(
      ([this.tensors.q, this.tensors.k, this.tensors.v, this.tensors.o] as const).map((x) => x.slice(2, h, 1).read()),
    );
    const mask = await this.#pattern.mask({ B: 1, Tq: T, Tk: T, H, Hk: H });
    let worst = 0;
    let largest = 0;
    for (const i of [0, 1, T >> 2, T >> 1, T - 1]) {
      const expected = plainRow({ q: q!, k: k!, v: v!, D, i, sees: (j) => mask(0, h, i, j) });
      for (let d = 0; d < D; d++) {
        const difference = Math.abs(o![i * D + d]! - expected[d]!);
        worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(worst, difference);
        largest = Math.max(largest, Math.abs(expected[d]!));
      }
    }
    const visibleShare = (await this.#visiblePairs()) / (H * ((T * (T + 1)) / 2));
    return { worstDifference: worst / largest, visibleShare };
  }

  dispose(): void {
    this.#dispose();
  }
}

/** Row i of attention over one head, [D]: softmax of its scaled scores over the keys that it sees, times v. */
function plainRow({
  q,
  k,
  v,
  D,
  i,
  sees,
}: {
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
  D: number;
  i: number;
  sees: (j: number) => boolean;
}) {
  const keys = Array.from({ length: i + 1 }, (_, j) => j).filter(sees);
  const scores = keys.map((j) => {
    let sum = 0;
    for (let d = 0; d < D; d++) sum += q[i * D + d]! * k[j * D + d]!;
    return sum / Math.sqrt(D);
  });
  const most = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - most));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const out = new Float64Array(D);
  for (const [n, j] of keys.entries()) for (let d = 0; d < D; d++) out[d]! += (weights[n]! / total) * v[j * D + d]!;
  return out;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
