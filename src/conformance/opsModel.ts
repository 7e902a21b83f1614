import type { Tensor } from "../tensor.ts";
import type { ConformanceCase } from "./case.ts";
import { claim, type Trial } from "./trial.ts";

const f32 = { dtype: "f32" } as const;

const embedding: ConformanceCase[] = [
  claim("embed", "adds token and position rows, C = 37", (t) => {
    const out = t.poison([2, 5, 37]);
    const tables = { tokenTable: t.normal([11, 37]), positionTable: t.normal([9, 37]) };
    t.ops.embed({ tokens: t.draws([2, 5], 11), ...tables, firstPosition: 4, out });
    return { out };
  }),
  claim("embed", "gives NaN rows for tokens out of range, and needs no positions", (t) => {
    const out = t.poison([1, 4, 16]);
    const tokens = t.ints([1, 4], (i) => [-1, 6, 5, 7][i]);
    t.ops.embed({ tokens, tokenTable: t.normal([6, 16]), positionTable: null, firstPosition: 0, out });
    return { out };
  }),
  ...[1, 16, 37].map((C) =>
    claim("embedBackward", `adds repeated tokens up and passes over those out of range, C = ${C}`, (t) => {
      const [dTokenTable, dPositionTable] = [t.normal([7, C], f32), t.normal([60, C], f32)];
      const tokens = t.ints([3, 50], (i) => (i % 13 === 4 ? -1 : (i * i) % 8));
      t.ops.embedBackward({ tokens, dout: t.normal([3, 50, C]), dTokenTable, dPositionTable });
      return { dTokenTable, dPositionTable };
    }),
  ),
  claim("embedBackward", "needs no positions", (t) => {
    const dTokenTable = t.normal([3, 5], f32);
    const tokens = t.draws([1, 1], 3);
    t.ops.embedBackward({ tokens, dout: t.normal([1, 1, 5]), dTokenTable, dPositionTable: null });
    return { dTokenTable };
  }),
];

function layerNormClaim(name: string, N: number, C: number, input: { scale?: number; shift?: number } = {}) {
  return claim("layerNorm", `${name}, N = ${N}, C = ${C}`, (t) => {
    const [x, weight, bias] = [t.normal([N, C], input), t.normal([C]), C % 2 ? t.normal([C]) : null];
    const [out, mean, rstd] = [t.poison([N, C]), t.poison([N], f32), t.poison([N], f32)];
    t.ops.layerNorm({ x, weight, bias, epsilon: 1e-5, out, mean, rstd });
    return { out, mean, rstd };
  });
}

function layerNormBackwardClaim(N: number, C: number) {
  return claim("layerNormBackward", `adds into all gradients, N = ${N}, C = ${C}`, (t) => {
    const call = {
      ...{ x: t.normal([N, C]), weight: t.normal([C]), mean: t.normal([N], { ...f32, scale: 0.1 }) },
      ...{ rstd: t.normal([N], { ...f32, scale: 0.1, shift: 1 }), dout: t.normal([N, C]) },
    };
    const gradients = { dx: t.normal([N, C]), dWeight: t.normal([C], f32), dBias: C % 2 ? t.normal([C], f32) : null };
    t.ops.layerNormBackward({ ...call, ...gradients });
    const { dx, dWeight, dBias } = gradients;
    return dBias ? { dx, dWeight, dBias } : { dx, dWeight };
  });
}

/** Heads of one part of a projection [B, T, 3 * H * D], as a view. */
function headsOf(projection: Tensor, part: number, [B, T, H, D]: number[]): Tensor {
  return projection.view([B, T, H, D], { strides: [T * 3 * H * D, 3 * H * D, D, 1], offset: part * H * D });
}

const rowShapes = [
  [2, 5, 3, 16],
  [1, 1, 1, 7],
  [1, 33, 2, 40],
];

const normalisation: ConformanceCase[] = [
  layerNormClaim("normalises", 1, 16),
  layerNormClaim("normalises", 7, 37),
  layerNormClaim("normalises", 33, 768),
  layerNormClaim("gives the bias where rows have one element", 3, 1),
  layerNormClaim("keeps its digits far from zero", 5, 129, { shift: 300 }),
  layerNormClaim("keeps its digits where all is small", 5, 65, { scale: 1e-4 }),
  layerNormBackwardClaim(1, 16),
  layerNormBackwardClaim(9, 37),
  layerNormBackwardClaim(300, 129),
  layerNormBackwardClaim(70, 768),
  ...rowShapes.flatMap((shape) => {
    const width = 3 * shape[2] * shape[3];
    const rows = shape[0] * shape[1] * shape[2];
    /** A projection whose second part holds one row of zeros. */
    const projection = (t: Trial): Tensor => {
      const all = t.normal([shape[0], shape[1], width]);
      t.ops.copy({ x: t.floats([shape[3]], () => 0), out: headsOf(all, 1, shape).view([shape[3]], { strides: [1] }) });
      return all;
    };
    return [
      claim("normalizeRows", `scales ${rows} rows of a view in place of another, D = ${shape[3]}`, (t) => {
        const [all, out] = [projection(t), t.poison(shape)];
        t.ops.normalizeRows({ x: headsOf(all, 1, shape), epsilon: 1e-6, out });
        t.ops.normalizeRows({ x: headsOf(all, 0, shape), epsilon: 1e-6, out: headsOf(all, 2, shape) });
        return { out, all };
      }),
      claim("normalizeRowsBackward", `adds into views, D = ${shape[3]}`, (t) => {
        const [x, dAll] = [projection(t), t.normal([shape[0], shape[1], width])];
        const call = { dout: headsOf(dAll, 0, shape), dx: headsOf(dAll, 1, shape) };
        t.ops.normalizeRowsBackward({ x: headsOf(x, 0, shape), epsilon: 1e-6, ...call });
        t.ops.normalizeRowsBackward({ x: headsOf(x, 2, shape), epsilon: 100, ...call });
        return { dAll };
      }),
    ];
  }),
];

/** N, I, O: single rows and columns, sizes off every tile width, and each dimension once larger than any block. */
const productSizes: [number, number, number][] = [
  [1, 1, 1],
  [1, 16, 64],
  [5, 13, 7],
  [8, 32, 16],
  [33, 65, 17],
  [4, 1, 9],
  [67, 24, 1],
  [70, 530, 141],
  [37, 20, 530],
  [530, 37, 20],
];

const products: ConformanceCase[] = productSizes.flatMap(([N, I, O]) =>
  [false, true].flatMap((transposed) => {
    const label = `N = ${N}, I = ${I}, O = ${O}${transposed ? ", transposed" : ""}`;
    const weightShape = transposed ? [O, I] : [I, O];
    return [
      claim("linear", `multiplies, ${label}`, (t) => {
        const out = t.poison([N, O]);
        t.ops.linear({ x: t.normal([N, I]), w: t.normal(weightShape), transposed, out });
        return { out };
      }),
      claim("linear", `adds a bias and the residual it replaces, ${label}`, (t) => {
        const [x, w, bias, out] = [t.normal([N, I]), t.normal(weightShape), t.normal([O]), t.normal([N, O])];
        t.ops.linear({ x, w, transposed, bias, residual: out, out });
        return { out };
      }),
      claim("linear", `adds a bias alone, the residual it replaces alone, and the latter to gelu, ${label}`, (t) => {
        const [x, w, bias] = [t.normal([N, I]), t.normal(weightShape, { scale: 2 / Math.sqrt(I) }), t.normal([O])];
        const [biased, replaced, throughGelu] = [t.poison([N, O]), t.normal([N, O]), t.normal([N, O])];
        const preGelu = t.poison([N, O]);
        t.ops.linear({ x, w, transposed, bias, out: biased });
        t.ops.linear({ x, w, transposed, residual: replaced, out: replaced });
        t.ops.linear({ x, w, transposed, residual: throughGelu, preGelu, out: throughGelu });
        return { biased, replaced, preGelu, throughGelu };
      }),
      claim("linear", `gives gelu and what went into it, ${label}`, (t) => {
        const [x, w, bias] = [t.normal([N, I]), t.normal(weightShape, { scale: 2 / Math.sqrt(I) }), t.normal([O])];
        const [preGelu, residual, out] = [t.poison([N, O]), t.normal([N, O]), t.poison([N, O])];
        t.ops.linear({ x, w, transposed, bias, residual: O % 2 ? residual : null, preGelu, out });
        return { preGelu, out };
      }),
      claim("linearBackwardInput", `writes, ${label}`, (t) => {
        const dx = t.poison([N, I]);
        t.ops.linearBackwardInput({ dout: t.normal([N, O]), w: t.normal(weightShape), transposed, dx });
        return { dx };
      }),
      claim("linearBackwardInput", `passes back through gelu, writing and adding, ${label}`, (t) => {
        const call = { dout: t.normal([N, O]), w: t.normal(weightShape), transposed, preGelu: t.normal([N, I]) };
        const [written, added] = [t.poison([N, I]), t.normal([N, I])];
        t.ops.linearBackwardInput({ ...call, dx: written });
        t.ops.linearBackwardInput({ ...call, accumulate: true, dx: added });
        return { written, added };
      }),
      claim("linearBackwardWeight", `adds into both gradients, ${label}`, (t) => {
        const [x, dout] = [t.normal([N, I]), t.normal([N, O])];
        const [dw, dBias] = [t.normal(weightShape, f32), t.normal([O], f32)];
        t.ops.linearBackwardWeight({ x, dout, transposed, dw, dBias });
        t.ops.linearBackwardWeight({ x, dout, transposed, dw });
        return { dw, dBias };
      }),
    ];
  }),
);

const gelu: ConformanceCase[] = [
  claim("linear", "gives gelu from deep in the tail to the straight part", (t) => {
    const [x, w] = [t.floats([401, 1], (i) => (i - 200) / 10), t.floats([1, 1], () => 1)];
    const [preGelu, out] = [t.poison([401, 1]), t.poison([401, 1])];
    t.ops.linear({ x, w, preGelu, out });
    const dx = t.poison([401, 1]);
    t.ops.linearBackwardInput({ dout: t.floats([401, 1], () => 1), w, preGelu, dx });
    return { out, dx };
  }),
];

const positions: ConformanceCase[] = rowShapes
  .map(([B, T, H, D]) => [B, T, H, D + (D % 2)])
  .map((shape) =>
    claim("rope", `turns, turns back and works in place on a view, D = ${shape[3]}`, (t) => {
      const all = t.normal([shape[0], shape[1], 3 * shape[2] * shape[3]]);
      const [out, back] = [t.poison(shape), t.poison(shape)];
      t.ops.rope({ x: headsOf(all, 0, shape), base: 10_000, firstPosition: 3, out });
      t.ops.rope({ x: headsOf(all, 1, shape), base: 500, firstPosition: 900, inverse: true, out: back });
      t.ops.rope({ x: headsOf(all, 2, shape), base: 10_000, firstPosition: 0, out: headsOf(all, 2, shape) });
      return { out, back, all };
    }),
  );

/** Claims about embedding, normalisation, products and positions. */
export const modelCases: ConformanceCase[] = [...embedding, ...normalisation, ...products, ...gelu, ...positions];
