import { DTypeError } from "../errors.ts";
import { checkTensors, type Demand, demand, parseDemands, type Sizes, whole } from "./demands.ts";
import type { Device } from "./device.ts";
import type { Ops } from "./ops.ts";

type Args<K extends keyof Ops> = Parameters<Ops[K]>[0];

interface Contract<K extends keyof Ops> {
  /** By name of the argument; `staircase.lo` is a field of a field. Checked in this order. */
  tensors: Record<string, Demand>;
  /** Takes the place of `tensors` if `transposed` is set. */
  transposed?: Record<string, Demand>;
  /** What no table can say. */
  also?(args: Args<K>, sizes: Sizes): void;
}

const staircaseFields = {
  "staircase.qRows": "[B|1,H|1,Tq] i32 optional",
  "staircase.kRows": "[B|1,Hk|1,Tk] i32 optional",
  "staircase.lo": "[B|1,H|1,Tq] i32",
  "staircase.hi": "[B|1,H|1,Tq] i32",
  "staircase.qLo": "[B|1,H|1,Tk] i32",
  "staircase.qHi": "[B|1,H|1,Tk] i32",
};
const linear = { x: "[N,I]", w: "[I,O]", bias: "[O] optional", residual: "[N,O] optional" };
const linearOut = { preGelu: "[N,O] optional", out: "[N,O]" };
const linearBackwardInput = { dout: "[N,O]", dx: "[N,I]", w: "[I,O]", preGelu: "[N,I] optional" };
const linearBackwardWeight = { x: "[N,I]", dout: "[N,O]", dw: "[I,O] f32", dBias: "[O] f32 optional" };

const contracts: { [K in keyof Ops]: Contract<K> } = {
  fill: { tensors: { out: "[*] any" } },
  copy: {
    tensors: { x: "[*] any strided", out: "[...x] any strided" },
    also({ x, out }) {
      if (x.dtype !== out.dtype)
        throw new DTypeError("copy", "x and out have one dtype", `${x.dtype} and ${out.dtype}`);
    },
  },
  cast: { tensors: { x: "[*] float", out: "[...x] float" } },
  add: { tensors: { x: "[*]", y: "[...x]", out: "[...x]" } },

  embed: {
    tensors: { tokens: "[B,T] i32", tokenTable: "[V,C]", positionTable: "[P,C] optional", out: "[B,T,C]" },
    also({ firstPosition, positionTable }, { T, P }) {
      whole("embed", "firstPosition", firstPosition, 0);
      if (positionTable)
        demand(
          "embed",
          P >= firstPosition + T,
          "positionTable has a row for each position",
          () => `${P} rows for positions ${firstPosition} to ${firstPosition + T - 1}`,
        );
    },
  },
  embedBackward: {
    tensors: {
      tokens: "[B,T] i32",
      dout: "[B,T,C]",
      dTokenTable: "[V,C] f32",
      dPositionTable: "[P,C] f32 optional",
    },
    also({ dPositionTable }, { T, P }) {
      if (dPositionTable)
        demand(
          "embedBackward",
          P >= T,
          "dPositionTable has a row for each position",
          () => `${P} rows for ${T} positions`,
        );
    },
  },

  layerNorm: {
    tensors: { x: "[N,C]", weight: "[C]", bias: "[C] optional", out: "[N,C]", mean: "[N] f32", rstd: "[N] f32" },
  },
  layerNormBackward: {
    tensors: {
      x: "[N,C]",
      weight: "[C]",
      mean: "[N] f32",
      rstd: "[N] f32",
      dout: "[N,C]",
      dx: "[N,C]",
      dWeight: "[C] f32",
      dBias: "[C] f32 optional",
    },
  },
  normalizeRows: { tensors: { x: "[B,T,H,D] strided", out: "[B,T,H,D] strided" } },
  normalizeRowsBackward: {
    tensors: { x: "[B,T,H,D] strided", dout: "[B,T,H,D] strided", dx: "[B,T,H,D] strided" },
  },

  linear: { tensors: { ...linear, ...linearOut }, transposed: { ...linear, w: "[O,I]", ...linearOut } },
  linearBackwardInput: { tensors: linearBackwardInput, transposed: { ...linearBackwardInput, w: "[O,I]" } },
  linearBackwardWeight: { tensors: linearBackwardWeight, transposed: { ...linearBackwardWeight, dw: "[O,I] f32" } },

  rope: {
    tensors: { x: "[B,T,H,D] strided", out: "[B,T,H,D] strided" },
    also({ firstPosition }, { D }) {
      whole("rope", "firstPosition", firstPosition, 0);
      demand("rope", D % 2 === 0, "D is even", () => `D=${D}`);
    },
  },

  lshBuckets: {
    tensors: {
      x: "[B,T,H,D] strided",
      rotations: "[H,D,R] f32",
      moments: "[B,H,R,2] f32 optional",
      out: "[B,T,H] i32",
    },
    also({ firstPosition = 0 }, { R }) {
      whole("lshBuckets", "firstPosition", firstPosition, 0);
      demand("lshBuckets", R >= 1 && R <= 128, "buckets are an even number of 2 to 256", () => `${2 * R}`);
    },
  },
  keepMask: {
    tensors: { key: "[2] i32", out: "[*] i32" },
    also({ keep }) {
      demand("keepMask", keep >= 0 && keep <= 1, "keep is a share of 0 to 1", () => `${keep}`);
    },
  },
  staircase: {
    tensors: {
      "rule.documents": "[B,Tk] i32 strided optional",
      "rule.qGroups": "[B,Tq,H] i32 strided optional",
      "rule.kGroups": "[B,Tk,Hk] i32 strided optional",
      "out.lo": "[B|1,H|1,Tq] i32",
      "out.hi": "[...out.lo] i32",
      "out.qRows": "[...out.lo] i32 optional",
      "out.kRows": "[B|1,Hk,Tk] i32 optional",
      "out.qLo": "[B|1,H|1,Tk] i32",
      "out.qHi": "[...out.qLo] i32",
    },
    also: checkStaircaseArgs,
  },

  attentionForward: {
    tensors: {
      q: "[B,Tq,H,D] strided",
      k: "[B,Tk,Hk,D] strided",
      v: "[B,Tk,Hk,D] strided",
      ...staircaseFields,
      o: "[B,Tq,H,D] strided",
      lse: "[B,H,Tq] f32 strided",
    },
    also: ({ scale }, sizes) => checkAttention("attentionForward", sizes, scale),
  },
  attentionDelta: {
    tensors: { o: "[B,Tq,H,D] strided", dout: "[B,Tq,H,D] strided", delta: "[B,H,Tq] f32 strided" },
  },
  attentionBackward: {
    tensors: {
      q: "[B,Tq,H,D] strided",
      k: "[B,Tk,Hk,D] strided",
      v: "[B,Tk,Hk,D] strided",
      ...staircaseFields,
      lse: "[B,H,Tq] f32 strided",
      delta: "[B,H,Tq] f32 strided optional",
      o: "[B,Tq,H,D] strided optional",
      dout: "[B,Tq,H,D] strided",
      dq: "[B,Tq,H,D] strided",
      dk: "[B,Tk,Hk,D] strided",
      dv: "[B,Tk,Hk,D] strided",
    },
    also({ scale, delta, o }, sizes) {
      checkAttention("attentionBackward", sizes, scale);
      demand("attentionBackward", Boolean(delta ?? o), "delta or o is given", () => "neither");
    },
  },

  softmaxCrossEntropy: {
    tensors: { logits: "[N,V]", targets: "[N] i32", losses: "[N] f32", gradScale: "[1] f32 optional" },
  },
  gradNorm: { tensors: { grad: "[*] f32", norm: "[1] f32" } },
  adamw: {
    tensors: {
      param: "[*] f32",
      computed: "[...param] float optional",
      grad: "[...param] f32",
      m: "[...param] f32",
      v: "[...param] f32",
      norm: "[1] f32",
      control: "[4] f32",
    },
  },
};

function checkAttention(op: string, { H, Hk, D }: Sizes, scale: number): void {
  demand(op, D >= 16 && D <= 256 && D % 8 === 0, "D is 16 to 256 in steps of 8", () => `D=${D}`);
  demand(op, Hk > 0 && H % Hk === 0, "H must be a multiple of Hk", () => `H=${H}, Hk=${Hk}`);
  demand(op, Number.isFinite(scale), "scale is a finite number", () => `${scale}`);
}

function checkStaircaseArgs({ rule, out }: Args<"staircase">, { B, H, Hk, Tq, Tk }: Sizes): void {
  const op = "staircase";
  const { documents, qGroups, kGroups, groupCount, near, far, chunk } = rule;
  whole(op, "groupCount", groupCount, 1, 256);
  if (near !== Number.POSITIVE_INFINITY) whole(op, "near", near, 0);
  if (far !== Number.POSITIVE_INFINITY) whole(op, "far", far, -1);
  if (chunk !== Number.POSITIVE_INFINITY) whole(op, "chunk", chunk, 1);
  demand(op, far >= near - 1, "far is at least near - 1", () => `near=${near}, far=${far}`);
  demand(op, !qGroups || out.qRows != null, "qGroups need qRows", () => "none");
  demand(op, !kGroups || out.kRows != null, "kGroups need kRows", () => "none");
  const [leadB, leadH] = out.lo.shape;
  const [, , places] = out.qLo.shape;
  demand(
    op,
    out.qLo.shape[0] === leadB && out.qLo.shape[1] === leadH,
    "lo and qLo have the same B and H",
    () => `[${out.lo.shape}] and [${out.qLo.shape}]`,
  );
  demand(
    op,
    places === Tk && out.lo.shape[2] === Tq,
    "lo is over Tq, qLo over Tk",
    () => `${out.lo.shape[2]}, ${places}`,
  );
  const perBatch = documents ?? qGroups ?? kGroups;
  demand(op, !perBatch || leadB === B, "out has the B of the rule's data", () => `B=${leadB} for B=${B}`);
  if (qGroups) demand(op, leadH === H, "out has the H of qGroups", () => `H=${leadH} for H=${H}`);
  if (kGroups) {
    demand(op, Hk > 0 && leadH % Hk === 0, "H must be a multiple of Hk", () => `H=${leadH}, Hk=${Hk}`);
    demand(op, out.kRows?.shape[0] === leadB, "kRows has the B of lo", () => `[${out.kRows?.shape}]`);
  }
}

/** Wraps a device's ops with the checks of shape and dtype that `Ops` states. */
export function checked(ops: Ops, device: Device): Ops {
  const wrapped: Record<string, (args: never) => void> = {};
  for (const op of Object.keys(contracts) as (keyof Ops)[]) {
    const { tensors, transposed, also } = contracts[op] as Contract<never>;
    const plain = parseDemands(tensors);
    const turned = transposed ? parseDemands(transposed) : plain;
    wrapped[op] = (args: { transposed?: boolean }) => {
      const sizes = checkTensors(op, args.transposed ? turned : plain, args, device);
      also?.(args as never, sizes);
      (ops[op] as (args: unknown) => void).call(ops, args);
    };
  }
  return wrapped as unknown as Ops;
}
