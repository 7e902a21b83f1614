import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Staircase } from "../../staircase/staircase.ts";
import type { Tensor } from "../../tensor.ts";
import { type CpuDevice, openCpuDevice } from "./index.ts";

interface Case {
  readonly name: string;
  readonly B?: number;
  readonly Tq: number;
  readonly Tk: number;
  readonly H: number;
  readonly Hk: number;
  readonly D: number;
  readonly kind: Kind;
  /** Whether queries and keys stand in orders of their own. */
  readonly shuffled?: boolean;
  /** Whether one staircase serves all heads and batch entries. */
  readonly shared?: boolean;
}
type Kind = "causal" | "window" | "steps" | "sparse" | "buckets" | "nothing" | "everything" | "diagonal";

const cases: Case[] = [
  { name: "causal over several tiles", Tq: 197, Tk: 197, H: 2, Hk: 2, D: 64, kind: "causal", shared: true },
  { name: "one position", Tq: 1, Tk: 1, H: 1, Hk: 1, D: 16, kind: "causal" },
  { name: "no queries", Tq: 0, Tk: 5, H: 2, Hk: 1, D: 16, kind: "nothing" },
  { name: "no keys", Tq: 5, Tk: 0, H: 2, Hk: 1, D: 16, kind: "nothing" },
  { name: "nothing visible", Tq: 70, Tk: 90, H: 1, Hk: 1, D: 32, kind: "nothing", shuffled: true },
  { name: "everything visible", Tq: 33, Tk: 150, H: 3, Hk: 1, D: 24, kind: "everything" },
  { name: "a window", Tq: 300, Tk: 300, H: 2, Hk: 1, D: 40, kind: "window", shared: true },
  { name: "one query, many keys", Tq: 1, Tk: 300, H: 4, Hk: 2, D: 64, kind: "causal" },
  { name: "many queries, few keys", Tq: 301, Tk: 7, H: 1, Hk: 1, D: 16, kind: "steps", shuffled: true },
  { name: "random steps", Tq: 260, Tk: 211, H: 2, Hk: 2, D: 64, kind: "steps", shuffled: true },
  { name: "random steps, grouped heads", B: 2, Tq: 90, Tk: 131, H: 6, Hk: 2, D: 32, kind: "steps", shuffled: true },
  { name: "gaps and empty rows", Tq: 203, Tk: 190, H: 2, Hk: 1, D: 48, kind: "sparse", shuffled: true },
  { name: "skewed buckets", B: 2, Tq: 220, Tk: 220, H: 3, Hk: 3, D: 16, kind: "buckets", shuffled: true },
  { name: "D = 128", Tq: 75, Tk: 101, H: 2, Hk: 1, D: 128, kind: "steps", shuffled: true },
  { name: "D = 256", Tq: 41, Tk: 67, H: 1, Hk: 1, D: 256, kind: "steps" },
  { name: "gaps over several tiles, D = 16", Tq: 300, Tk: 300, H: 1, Hk: 1, D: 16, kind: "sparse" },
];

let device: CpuDevice;
let other: CpuDevice;
beforeAll(async () => {
  device = await openCpuDevice({ threads: 3 });
  other = await openCpuDevice({ threads: 1 });
});
afterAll(() => {
  device.dispose();
  other.dispose();
});

describe.each(cases)("attention, $name", (shape) => {
  const problem = makeProblem(shape, 1);
  let exact: Plain;
  let plain: Plain;
  beforeAll(() => {
    exact = plainAttention(problem, (x) => x);
    plain = plainAttention(problem, Math.fround);
  });

  test("agrees with float64 as well as plain float32 does, forward and backward", async () => {
    const ours = await run(device, problem);
    for (const name of resultNames) {
      expectWithin(`${shape.name} ${name}`, ours[name], exact[name], plain[name]);
    }
  });

  test("gives the same bits with any number of threads", async () => {
    const [three, one] = [await run(device, problem), await run(other, problem)];
    for (const name of resultNames) expect(bits(three[name])).toEqual(bits(one[name]));
  });

  test("adds up over a staircase cut in two", async () => {
    const ours = await run(device, problem, { parts: cutInTwo(problem) });
    for (const name of resultNames) {
      expectWithin(`${shape.name} ${name}`, ours[name], exact[name], plain[name]);
    }
  });
});

test("a query that sees no key gives o = 0 and lse = -Infinity, and no gradient", async () => {
  const problem = makeProblem({ name: "", Tq: 20, Tk: 20, H: 1, Hk: 1, D: 16, kind: "nothing" }, 3);
  const ours = await run(device, problem);
  expect(ours.lse.every((value) => value === Number.NEGATIVE_INFINITY)).toBe(true);
  for (const name of ["o", "dq", "dk", "dv"] as const) expect(ours[name].every((value) => value === 0)).toBe(true);
});

test("a query that sees one key copies its value, and its scores have exactly no gradient", async () => {
  const problem = makeProblem({ name: "", Tq: 70, Tk: 70, H: 2, Hk: 1, D: 24, kind: "diagonal", shuffled: true }, 6);
  const ours = await run(device, problem);
  const { qRows, lo } = problem.heads[1]!;
  for (let n = 0; n < 70; n++) {
    const row = (qRows[n]! * 2 + 1) * 24;
    const key = problem.kRows[0]![lo[n]!]! * 24;
    expect(ours.o.slice(row, row + 24)).toEqual(problem.v.slice(key, key + 24));
  }
  for (const name of ["dq", "dk"] as const) expect(ours[name].every((value) => value === 0)).toBe(true);
});

test("a scale of any sign, and none, weighs the scores", async () => {
  const shape: Case = { name: "", Tq: 60, Tk: 60, H: 2, Hk: 1, D: 16, kind: "sparse", shuffled: true };
  for (const scale of [-0.3, 0, 2]) {
    const problem = makeProblem(shape, 7, scale);
    const [exact, plain] = [plainAttention(problem, (x) => x), plainAttention(problem, Math.fround)];
    const ours = await run(device, problem);
    for (const name of resultNames) expectWithin(`scale ${scale} ${name}`, ours[name], exact[name], plain[name]);
  }
});

test("scores of any size give finite results, and NaN in a query reaches its output only", async () => {
  const shape: Case = { name: "", Tq: 40, Tk: 40, H: 1, Hk: 1, D: 16, kind: "causal" };
  const problem = makeProblem(shape, 4);
  for (let i = 0; i < problem.q.length; i++) problem.q[i]! *= 1e4;
  problem.q[7 * 16 + 3] = Number.NaN;
  const { o } = await run(device, problem);
  for (let row = 0; row < 40; row++) {
    const values = o.subarray(row * 16, row * 16 + 16);
    expect([row, values.every(Number.isFinite)]).toEqual([row, row !== 7]);
    if (row === 7) expect(values.every(Number.isNaN)).toBe(true);
  }
});

test("queries, keys and values may be views into one projection, heads apart from their outputs", async () => {
  const problem = makeProblem({ name: "", Tq: 50, Tk: 50, H: 2, Hk: 2, D: 16, kind: "causal", shared: true }, 5);
  const packed = new Float32Array(50 * 96);
  for (let t = 0; t < 50; t++) {
    packed.set(problem.q.subarray(t * 32, t * 32 + 32), t * 96);
    packed.set(problem.k.subarray(t * 32, t * 32 + 32), t * 96 + 32);
    packed.set(problem.v.subarray(t * 32, t * 32 + 32), t * 96 + 64);
  }
  const whole = device.tensor(packed, [1, 50, 96]);
  const [q, k, v] = [0, 32, 64].map((offset) =>
    whole.view([1, 50, 2, 16], { strides: [50 * 96, 96, 16, 1], offset }),
  ) as [Tensor, Tensor, Tensor];
  const [o, lse] = [device.empty([1, 50, 2, 16]), device.empty([1, 2, 50])];
  device.ops.attentionForward({ q, k, v, o, lse, staircase: upload(device, problem, problem.heads), scale: 0.25 });
  expect(bits(await o.read())).toEqual(bits((await run(device, problem)).o));
});

// -- the problem ------------------------------------------------------------------------------------------------------

interface Head {
  readonly qRows: Int32Array;
  lo: Int32Array;
  hi: Int32Array;
}
interface Problem {
  readonly shape: Required<Case>;
  readonly scale: number;
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly dout: Float32Array;
  /** One for each (b, h); kRows one for each (b, key head). */
  readonly heads: Head[];
  readonly kRows: Int32Array[];
}

function makeProblem(given: Case, seed: number, scale = 1 / Math.sqrt(given.D)): Problem {
  const shape = { B: 1, shuffled: false, shared: false, ...given };
  const random = randomStream(seed);
  const normals = (n: number) => Float32Array.from({ length: n }, () => random() + random() + random() - 1.5);
  const { B, Tq, Tk, H, Hk, D, shuffled, shared } = shape;
  const head = (): Head => ({ qRows: order(Tq, shuffled, random), ...bounds(shape, random) });
  const first = head();
  return {
    shape,
    scale,
    q: normals(B * Tq * H * D).map((x) => 3 * x),
    k: normals(B * Tk * Hk * D),
    v: normals(B * Tk * Hk * D),
    dout: normals(B * Tq * H * D),
    heads: Array.from({ length: B * H }, () => (shared ? first : head())),
    kRows: Array.from({ length: B * Hk }, () => order(Tk, shuffled, random)),
  };
}

function randomStream(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function order(n: number, shuffled: boolean, random: () => number): Int32Array {
  const rows = Int32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; shuffled && i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [rows[i], rows[j]] = [rows[j]!, rows[i]!];
  }
  return rows;
}

function bounds({ Tq, Tk, kind }: Required<Case>, random: () => number): { lo: Int32Array; hi: Int32Array } {
  const places = Array.from({ length: Tq }, (_, n) => n);
  const ends = (n: number) => Math.max(0, Math.min(Tk, n + 1 + Tk - Tq));
  const sorted = () => Int32Array.from(places, () => Math.floor(random() ** 2 * (Tk + 1))).sort();
  const make = (lo: (n: number) => number, hi: (n: number) => number) => ({
    lo: Int32Array.from(places, lo),
    hi: Int32Array.from(places, (n) => Math.max(lo(n), hi(n))),
  });
  if (kind === "nothing")
    return make(
      () => 0,
      () => 0,
    );
  if (kind === "everything")
    return make(
      () => 0,
      () => Tk,
    );
  if (kind === "diagonal")
    return make(
      (n) => n,
      (n) => n + 1,
    );
  if (kind === "causal") return make(() => 0, ends);
  if (kind === "window") return make((n) => Math.max(0, ends(n) - 37), ends);
  const [a, b] = [sorted(), sorted()];
  if (kind === "steps")
    return make(
      (n) => Math.min(a[n]!, b[n]!),
      (n) => Math.max(a[n]!, b[n]!),
    );
  // Many equal bounds, jumps over keys that nobody sees, and empty rows at the end.
  if (kind === "sparse") {
    const jump = (n: number) => (n > Tq - 20 ? Tk : Math.floor(a[n]! / 50) * 50);
    return make(jump, (n) => Math.min(Tk, jump(n) + (a[n]! % 50)));
  }
  const start = (n: number) => Math.floor(Math.sqrt(n / Tq) * 5) ** 2;
  return make(
    (n) => Math.min(Tk, start(n) * 9),
    (n) => Math.min(Tk, Math.max(n, start(n) * 9)),
  );
}

/** Two disjoint staircases whose union is the problem's: each interval is cut where the keys' middle lies. */
function cutInTwo({ shape, heads }: Problem): Head[][] {
  const middle = Math.floor(shape.Tk / 2);
  const clamp = (from: number, to: number) => (x: number) => Math.min(to, Math.max(from, x));
  return [clamp(0, middle), clamp(middle, shape.Tk)].map((cut) =>
    heads.map(({ qRows, lo, hi }) => ({ qRows, lo: lo.map(cut), hi: hi.map(cut) })),
  );
}

// -- running ----------------------------------------------------------------------------------------------------------

interface Results {
  o: Float32Array;
  lse: Float32Array;
  dq: Float32Array;
  dk: Float32Array;
  dv: Float32Array;
}

function upload(on: CpuDevice, { shape, kRows }: Problem, heads: Head[]): Staircase {
  const { B, Tq, Tk, H, Hk, shuffled, shared } = shape;
  const [b, h] = shared ? [1, 1] : [B, H];
  const perQuery = (get: (head: Head) => Int32Array) =>
    on.tensor(Int32Array.from(heads.slice(0, b * h).flatMap((head) => [...get(head)])), [b, h, Tq]);
  // Columns are not what this device reads; poison shows it.
  const unused = on.tensor(new Int32Array(b * h * Tk).fill(-1), [b, h, Tk]);
  return {
    qRows: shuffled ? perQuery((head) => head.qRows) : null,
    kRows: shuffled ? on.tensor(Int32Array.from(kRows.flatMap((rows) => [...rows])), [B, Hk, Tk]) : null,
    lo: perQuery((head) => head.lo),
    hi: perQuery((head) => head.hi),
    qLo: unused,
    qHi: unused,
  };
}

/** Runs the ops on outputs full of NaN, over one staircase or over parts that add up. */
async function run(on: CpuDevice, problem: Problem, { parts = [problem.heads] } = {}): Promise<Results> {
  const { B, Tq, Tk, H, Hk, D } = problem.shape;
  const queries = (data: Float32Array) => on.tensor(data, [B, Tq, H, D]);
  const keys = (data: Float32Array) => on.tensor(data, [B, Tk, Hk, D]);
  const poison = (shape: number[]) =>
    on.tensor(new Float32Array(shape.reduce((n, d) => n * d, 1)).fill(Number.NaN), shape);
  const [q, k, v, dout] = [queries(problem.q), keys(problem.k), keys(problem.v), queries(problem.dout)];
  const [o, lse, delta] = [poison([B, Tq, H, D]), poison([B, H, Tq]), poison([B, H, Tq])];
  const [dq, dk, dv] = [poison([B, Tq, H, D]), poison([B, Tk, Hk, D]), poison([B, Tk, Hk, D])];
  const { scale } = problem;
  const staircases = parts.map((heads) => upload(on, problem, heads));
  for (const [i, staircase] of staircases.entries()) {
    on.ops.attentionForward({ q, k, v, staircase, scale, merge: i > 0, o, lse });
  }
  on.ops.attentionDelta({ o, dout, delta });
  for (const [i, staircase] of staircases.entries()) {
    const accumulate = { accumulateQ: i > 0, accumulateKV: i > 0 };
    on.ops.attentionBackward({ q, k, v, staircase, scale, lse, delta, dout, ...accumulate, dq, dk, dv });
  }
  const results = {
    o: await o.read(),
    lse: await lse.read(),
    dq: await dq.read(),
    dk: await dk.read(),
    dv: await dv.read(),
  };
  const tensors = [q, k, v, dout, o, lse, delta, dq, dk, dv, ...staircases.flatMap((s) => Object.values(s))];
  for (const tensor of tensors) tensor?.dispose();
  return results;
}

const resultNames = ["o", "lse", "dq", "dk", "dv"] as const;

type Plain = { [name in keyof Results]: Float64Array };

/** Attention and its gradients as in a textbook, every operation rounded by `round`. */
function plainAttention(
  { shape, scale: exactScale, q, k, v, dout, heads, kRows }: Problem,
  round: (x: number) => number,
): Plain {
  const { B, Tq, Tk, H, Hk, D } = shape;
  const [nq, nk] = [B * Tq * H * D, B * Tk * Hk * D];
  const [o, dq, dk, dv] = [new Float64Array(nq), new Float64Array(nq), new Float64Array(nk), new Float64Array(nk)];
  const lse = new Float64Array(B * H * Tq).fill(Number.NEGATIVE_INFINITY);
  const scale = round(exactScale);
  const sum = (n: number, term: (i: number) => number) => {
    let total = 0;
    for (let i = 0; i < n; i++) total = round(total + round(term(i)));
    return total;
  };
  const add = (to: Float64Array, at: number, value: number) => {
    to[at] = round(to[at]! + round(value));
  };
  for (let bh = 0; bh < B * H; bh++) {
    const [b, h] = [Math.floor(bh / H), bh % H];
    const keyHead = Math.floor((h * Hk) / H);
    const { qRows, lo, hi } = heads[bh]!;
    for (let n = 0; n < Tq; n++) {
      const count = hi[n]! - lo[n]!;
      if (count <= 0) continue;
      const row = ((b * Tq + qRows[n]!) * H + h) * D;
      const key = (j: number) => ((b * Tk + kRows[b * Hk + keyHead]![lo[n]! + j]!) * Hk + keyHead) * D;
      const scores = Array.from({ length: count }, (_, j) =>
        round(scale * sum(D, (d) => q[row + d]! * k[key(j) + d]!)),
      );
      const max = Math.max(...scores);
      const weights = scores.map((s) => round(Math.exp(round(s - max))));
      const total = sum(count, (j) => weights[j]!);
      const p = weights.map((w) => round(w / total));
      lse[bh * Tq + qRows[n]!] = round(max + round(Math.log(total)));
      for (let d = 0; d < D; d++) o[row + d] = sum(count, (j) => p[j]! * v[key(j) + d]!);
      const delta = sum(D, (d) => dout[row + d]! * o[row + d]!);
      for (let j = 0; j < count; j++) {
        const dp = sum(D, (d) => dout[row + d]! * v[key(j) + d]!);
        const ds = round(scale * round(p[j]! * round(dp - delta)));
        for (let d = 0; d < D; d++) {
          add(dv, key(j) + d, p[j]! * dout[row + d]!);
          add(dq, row + d, ds * k[key(j) + d]!);
          add(dk, key(j) + d, ds * q[row + d]!);
        }
      }
    }
  }
  return { o, lse, dq, dk, dv };
}

/** The error may be twice that of plain float32, and 1e-6 of the largest value. */
function expectWithin(name: string, ours: Float32Array, exact: Float64Array, plain: Float64Array): void {
  const errorOf = (x: ArrayLike<number>) =>
    exact.reduce((worst, want, i) => (Object.is(x[i], want) ? worst : Math.max(worst, Math.abs(x[i]! - want))), 0);
  const largest = exact.reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0);
  const error = errorOf(ours);
  const budget = 2 * errorOf(plain) + 1e-6 * largest;
  const worst = ours.findIndex((x, i) => !Object.is(x, exact[i]) && !(Math.abs(x - exact[i]!) < error));
  expect(ours.length).toBe(exact.length);
  expect(error, `${name}: worst at ${worst}, got ${ours[worst]}, want ${exact[worst]}`).toBeLessThanOrEqual(budget);
}

const bits = (x: Float32Array) => new Uint32Array(x.buffer, x.byteOffset, x.length);
