import type { KernelRequest } from "./runtime.ts";

/**
 * Which kernels compute attention, and with which constants: the one place where families and builds are chosen. What
 * the constants mean is said at the top of each kernel file, as are the formulas for shared memory.
 *
 * - `sm90`: wgmma, for GPUs of compute capability 9.0; D 64 and 128; scale > 0.
 * - `mma`: mma.sync, for every other case.
 */
export interface ForwardBuild {
  readonly family: "sm90" | "mma";
  readonly request: KernelRequest;
  /** Queries of a block. */
  readonly blockM: number;
  /** Keys of a tile. */
  readonly blockN: number;
  readonly threads: number;
  readonly sharedBytes: number;
}

/** What a choice depends on. */
export interface BuildFor {
  /** See `CudaRuntime.hasSm90a`. */
  readonly hasSm90a: boolean;
  /** Dynamic shared memory that a block may ask for. */
  readonly sharedBytesPerBlock: number;
  readonly D: number;
  readonly isF16: boolean;
  /** Visit order is the identity, and the sm90 family can load tiles by tensor maps. */
  readonly identity: boolean;
  readonly scale: number;
}

/** Constants of an sm90 build; registers are for a thread of the loading and of the computing warps. */
interface Sm90Shape {
  readonly consumers: number;
  readonly blockN: number;
  readonly stages: number;
  readonly registers: readonly [load: number, compute: number];
}

/** By head dimension; gathering needs more registers than bulk copies do. */
const sm90Forward: Readonly<Record<number, { readonly identity: Sm90Shape; readonly gathered: Sm90Shape }>> = {
  64: {
    identity: { consumers: 3, blockN: 128, stages: 4, registers: [32, 160] },
    gathered: { consumers: 3, blockN: 96, stages: 5, registers: [80, 144] },
  },
  128: {
    identity: { consumers: 2, blockN: 128, stages: 2, registers: [72, 216] },
    gathered: { consumers: 2, blockN: 128, stages: 2, registers: [72, 216] },
  },
};

const sm90Backward: Readonly<Record<number, { readonly identity: Sm90Shape; readonly gathered: Sm90Shape }>> = {
  64: {
    identity: { consumers: 2, blockN: 128, stages: 4, registers: [40, 232] },
    gathered: { consumers: 2, blockN: 128, stages: 4, registers: [88, 208] },
  },
  128: {
    identity: { consumers: 2, blockN: 128, stages: 3, registers: [56, 224] },
    gathered: { consumers: 2, blockN: 128, stages: 3, registers: [56, 224] },
  },
};

/** Head dimensions that the mma family is built for; others are padded to the next. */
const mmaDepths = [16, 32, 64, 128, 256] as const;

export function forwardBuild(problem: BuildFor): ForwardBuild {
  const { D, identity } = problem;
  const shapes = problem.hasSm90a && takesMaskedScores(problem.scale) ? sm90Forward[D] : undefined;
  if (!shapes) return mmaForward(problem);
  const { consumers, blockN, stages, registers } = identity ? shapes.identity : shapes.gathered;
  const defines = { ...elementDefines(problem), HEAD_DIM: D, CONSUMERS: consumers, BLOCK_N: blockN, STAGES: stages };
  return {
    family: "sm90",
    request: { file: "attention_forward_sm90", sm90a: true, defines: { ...defines, ...registerDefines(registers) } },
    blockM: 64 * consumers,
    blockN,
    threads: 128 * (consumers + 1),
    sharedBytes: 1024 + consumers * 256 * D + stages * 4 * blockN * D + consumers * 1536 + stages * 32 + 384 + 4160,
  };
}

function mmaForward(problem: BuildFor): ForwardBuild {
  const depth = mmaDepth(problem.D);
  const [blockM, blockN] = [64, depth > 64 ? 32 : 64];
  const defines = { ...elementDefines(problem), HEAD_DIM: depth, BLOCK_M: blockM, BLOCK_N: blockN };
  const anyScale = takesMaskedScores(problem.scale) ? {} : { ANY_SCALE: 1 };
  return {
    family: "mma",
    request: { file: "attention_forward", defines: { ...defines, ...anyScale } },
    blockM,
    blockN,
    threads: 2 * blockM,
    sharedBytes: (blockM + 4 * blockN) * (depth + 8) * 2,
  };
}

/** The backward of the mma family: `attention_backward_kv` makes dk and dv, `attention_backward_q` makes dq. */
export interface MmaBackwardBuild {
  readonly request: KernelRequest;
  /** Keys, or queries, of a block. */
  readonly blockM: number;
  /** Blocks that share the features of an output. */
  readonly slices: number;
  readonly threads: number;
  readonly sharedBytes: number;
}

/** The fused backward, with the kernels before and after it. */
export interface Sm90BackwardBuild {
  readonly request: KernelRequest;
  /** `attention_backward_prepare` and `attention_backward_finish`. */
  readonly scratch: KernelRequest;
  readonly scratchThreads: number;
  /** Queries of a tile, and of a block of the kernels before and after. */
  readonly blockM: number;
  /** Keys of a block. */
  readonly blockN: number;
  readonly threads: number;
  readonly sharedBytes: number;
  /** Whether dq comes out of it; else the mma family makes it. */
  readonly makesDq: boolean;
}

export interface BackwardBuild {
  /** null where the mma family makes all gradients. */
  readonly sm90: Sm90BackwardBuild | null;
  readonly mma: MmaBackwardBuild;
}

export function backwardBuild(problem: BuildFor, { deterministic }: { deterministic: boolean }): BackwardBuild {
  const shapes = problem.hasSm90a && takesMaskedScores(problem.scale) ? sm90Backward[problem.D] : undefined;
  const mma = mmaBackward(problem);
  if (!shapes) return { sm90: null, mma };
  const { consumers, blockN, stages, registers } = problem.identity ? shapes.identity : shapes.gathered;
  const makesDq = !deterministic; // it adds dq up in no fixed order
  const shared = { ...elementDefines(problem), HEAD_DIM: problem.D, WITH_DQ: makesDq ? 1 : 0 };
  const defines = { ...shared, STAGES: stages, ...registerDefines(registers) };
  return {
    sm90: {
      request: { file: "attention_backward_sm90", sm90a: true, defines },
      scratch: { file: "attention_backward_scratch", defines: shared },
      scratchThreads: 256,
      blockM: 64,
      blockN,
      threads: 128 * (consumers + 1),
      sharedBytes: sm90BackwardBytes(problem.D, stages),
      makesDq,
    },
    mma,
  };
}

function sm90BackwardBytes(D: number, stages: number): number {
  const keyBuffers = D === 64 ? 2 : 1;
  const barriers = (stages + keyBuffers + 2) * 16;
  return 1024 + keyBuffers * 512 * D + stages * (256 * D + 512) + 3 * 16384 + 2048 + barriers + 384;
}

function mmaBackward(problem: BuildFor): MmaBackwardBuild {
  const depth = mmaDepth(problem.D);
  const slice = Math.min(depth, 128);
  const bytes = ([m, n]: readonly [number, number]) => (2 * m + 4 * n) * (depth + 8) * 2 + 16 * n;
  // Smaller tiles for GPUs whose blocks have little shared memory (99 KiB at compute capability 8.6 and 8.9).
  const tiles = [[64, depth > 64 ? 32 : 64] as const, [32, 16] as const];
  const [blockM, blockN] = tiles.find((tile) => bytes(tile) <= problem.sharedBytesPerBlock) ?? tiles[1]!;
  const defines = { HEAD_DIM: depth, SLICE: slice, BLOCK_M: blockM, BLOCK_N: blockN };
  return {
    request: { file: "attention_backward", defines: { ...elementDefines(problem), ...defines } },
    blockM,
    slices: depth / slice,
    threads: 2 * blockM,
    sharedBytes: bytes([blockM, blockN]),
  };
}

/**
 * Whether scores may be masked by -Infinity before they are scaled. In float32: a scale below its normal numbers may
 * be flushed to 0.
 */
function takesMaskedScores(scale: number): boolean {
  return Math.fround(scale) >= 2 ** -126;
}

function elementDefines({ isF16, identity }: BuildFor): Record<string, number> {
  return { ...(isF16 && { ELEMENT_F16: 1 }), ...(identity && { IDENTITY: 1 }) };
}

function registerDefines([load, compute]: Sm90Shape["registers"]): Record<string, number> {
  return { REGISTERS_LOAD: load, REGISTERS_COMPUTE: compute };
}

function mmaDepth(D: number): number {
  return mmaDepths.find((depth) => depth >= D)!;
}
