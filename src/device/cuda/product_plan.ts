import { DeviceError } from "../../errors.ts";
import { bytesPerElement } from "../../tensor.ts";
import {
  type Algorithm,
  algorithmAttribute,
  attribute,
  computeFloat32,
  dataType,
  epilogue,
  operation,
  preference,
  readAlgorithms,
  reduction,
  resultBytes,
} from "./cublaslt.ts";
import { type Handle, readHandle } from "./driver.ts";
import type { CudaStorage } from "./kernel_arguments.ts";
import type { Operand, Product } from "./product.ts";
import type { CudaRuntime } from "./runtime.ts";

const workspaceLimit = 64 << 20;
const candidateCount = 16;
/** Below this many multiply-adds the best choice saves less than the search costs. */
const fewestToTime = 2 ** 29;
/** Multiply-adds of one measurement: some 0.3 ms. */
const enoughToTime = 2 ** 37;

/**
 * One shape of product as cuBLASLt knows it: descriptors made once, the algorithms that it proposes, and the one that
 * proved fastest. Row-major matrices are the transposes of column-major ones, so the library is asked for
 * out^T [N, M] = b^T [N, K] a^T [K, M]: its A is our b and its B our a.
 */
export class ProductPlan {
  /** In the library's order of preference; the tuned one alone once it is known. Empty: cuBLASLt cannot do it. */
  #algorithms: Algorithm[] = [];
  #isTuned = false;
  /** Whether the epilogue is better done by the library than by a kernel after it; see product.ts. */
  isWorthFusing: boolean | undefined;
  readonly #runtime: CudaRuntime;
  readonly #blas: Handle;
  readonly #description: Handle;
  readonly #layouts: { readonly a: Handle; readonly b: Handle; readonly out: Handle };
  readonly #pointers = new Map<number, number>();

  constructor(runtime: CudaRuntime, p: Product) {
    const { products } = runtime;
    this.#runtime = runtime;
    this.#blas = runtime.keep("cuBLASLt handle", () => {
      const handle = readHandle((at) => products.call("cublasLtCreate", at));
      runtime.atDispose(() => products.attempt("cublasLtDestroy", handle));
      return handle;
    });
    this.#description = describe(runtime, p);
    const layout = (type: keyof typeof dataType, rows: number, columns: number) => {
      const made = readHandle((at) =>
        products.call("cublasLtMatrixLayoutCreate", at, dataType[type], rows, columns, rows),
      );
      runtime.atDispose(() => products.attempt("cublasLtMatrixLayoutDestroy", made));
      return made;
    };
    this.#layouts = {
      a: p.b.turned ? layout(p.type, p.K, p.N) : layout(p.type, p.N, p.K),
      b: p.a.turned ? layout(p.type, p.M, p.K) : layout(p.type, p.K, p.M),
      out: layout(p.outType, p.N, p.M),
    };
    this.#setPointers(p);
    this.#algorithms = this.#propose(p);
  }

  get isPossible(): boolean {
    return this.#algorithms.length > 0;
  }

  /** Enqueues the product with the best algorithm known. @returns whether the library does it */
  run(p: Product): boolean {
    if (!this.#isTuned && mayTime(this.#runtime, p)) this.#tune(p);
    for (;;) {
      const [algorithm] = this.#algorithms;
      if (!algorithm) return false;
      if (this.#enqueue(p, algorithm)) return true;
      this.#algorithms.shift();
    }
  }

  /** @returns false where the library turns this algorithm down */
  #enqueue(p: Product, { bytes, workspaceBytes }: Algorithm): boolean {
    const { products, stream } = this.#runtime;
    this.#runtime.mustWork();
    this.#setPointers(p);
    const { a, b, out } = this.#layouts;
    const call = (workspace: number) =>
      products.accepts(
        "cublasLtMatmul",
        ...[this.#blas, this.#description, one, p.b.address, a, p.a.address, b, p.residual ? one : zero],
        ...[p.residual || p.out, out, p.out, out, bytes, workspace, workspaceBytes, stream],
      );
    return workspaceBytes === 0 ? call(0) : this.#runtime.withScratch(workspaceBytes, call);
  }

  #setPointers({ bias, preGelu, slopeOf }: Product): void {
    const set = (name: number, address: number) => {
      if (address === 0 || this.#pointers.get(name) === address) return;
      const value = BigUint64Array.of(BigInt(address));
      this.#runtime.products.call("cublasLtMatmulDescSetAttribute", this.#description, name, value, 8);
      this.#pointers.set(name, address);
    };
    set(attribute.biasPointer, bias);
    set(attribute.auxPointer, preGelu || slopeOf);
  }

  /** What the library would use, the best first, and for long thin sums the same with K split further. */
  #propose(p: Product): Algorithm[] {
    const { products } = this.#runtime;
    const wishes = readHandle((at) => products.call("cublasLtMatmulPreferenceCreate", at));
    try {
      const wish = (name: number, value: Uint32Array | BigUint64Array) =>
        products.call("cublasLtMatmulPreferenceSetAttribute", wishes, name, value, value.byteLength);
      wish(preference.workspaceBytes, BigUint64Array.of(BigInt(workspaceLimit)));
      wish(preference.reductionSchemes, Uint32Array.of(reductionsFor(this.#runtime, p)));
      wish(preference.alignmentA, Uint32Array.of(alignmentOf(p.b.address)));
      wish(preference.alignmentB, Uint32Array.of(alignmentOf(p.a.address)));
      wish(preference.alignmentC, Uint32Array.of(alignmentOf(p.residual || p.out)));
      wish(preference.alignmentD, Uint32Array.of(alignmentOf(p.out)));
      const [results, count] = [new Uint8Array(candidateCount * resultBytes), new Int32Array(1)];
      const { a, b, out } = this.#layouts;
      const isPossible = products.accepts(
        "cublasLtMatmulAlgoGetHeuristic",
        ...[this.#blas, this.#description, a, b, out, out, wishes, candidateCount, results, count],
      );
      return isPossible ? readAlgorithms(results, count[0]!) : [];
    } finally {
      products.attempt("cublasLtMatmulPreferenceDestroy", wishes);
    }
  }

  /** Where the output has too few tiles for the GPU and K is long: the first proposals with K split among blocks. */
  #split({ M, N, K }: Product): Algorithm[] {
    const tiles = Math.ceil(M / 128) * Math.ceil(N / 256);
    if (tiles > 2 * this.#runtime.facts.processors || K < 4096) return [];
    return this.#algorithms.slice(0, 3).flatMap(({ bytes }) => [2, 3, 4, 6].flatMap((n) => this.#splitInto(n, bytes)));
  }

  #splitInto(parts: number, bytes: Uint8Array): Algorithm[] {
    const { products } = this.#runtime;
    const { a, b, out } = this.#layouts;
    const algorithm = bytes.slice();
    const set = (name: number, value: number) =>
      products.accepts("cublasLtMatmulAlgoConfigSetAttribute", algorithm, name, Uint32Array.of(value), 4);
    const result = new Uint8Array(resultBytes);
    const isPossible =
      set(algorithmAttribute.splitK, parts) &&
      set(algorithmAttribute.reductionScheme, reduction.computeType) &&
      products.accepts(
        "cublasLtMatmulAlgoCheck",
        ...[this.#blas, this.#description, a, b, out, out, algorithm, result],
      );
    // The check tells what the algorithm needs; the algorithm stays our own.
    const [checked] = isPossible ? readAlgorithms(result, 1) : [];
    if (!checked || checked.workspaceBytes > workspaceLimit) return [];
    return [{ bytes: algorithm, workspaceBytes: checked.workspaceBytes }];
  }

  /** Times the candidates and keeps the fastest. Outputs that hold a summand are spared: a copy's memory takes them. */
  #tune(p: Product): void {
    this.#isTuned = true;
    const candidates = [...this.#algorithms, ...this.#split(p)];
    if (candidates.length < 2) return;
    const isInPlace = p.residual === p.out;
    const spare = isInPlace ? allocateIfFree(this.#runtime, p.M * p.N * bytesPerElement[p.outType]) : null;
    if (isInPlace && !spare) return;
    try {
      const target = spare ? { ...p, out: spare.address } : p;
      const best = fastest(candidates, (algorithm) => trial(this.#runtime, p, () => this.#enqueue(target, algorithm)));
      // The library's first choices stay behind it, should it be turned down after all.
      this.#algorithms = [best, ...this.#algorithms.filter((other) => other !== best)];
    } finally {
      if (spare) this.#runtime.release(spare);
    }
  }
}

const [one, zero] = [Float32Array.of(1), Float32Array.of(0)];
const roundsForAll = 2;
const finalists = 4;
const roundsForFinalists = 4;

/** The candidate whose best time is lowest; the slow ones leave early, and the rest are timed in turns. */
function fastest<T>(candidates: readonly T[], timeMs: (candidate: T) => number): T {
  const entries = candidates.map((candidate) => ({ candidate, ms: Number.POSITIVE_INFINITY }));
  const round = (running: typeof entries) => {
    for (const entry of running) entry.ms = Math.min(entry.ms, timeMs(entry.candidate));
    // Ties stay in the library's order.
    running.sort((x, y) => (x.ms === y.ms ? 0 : x.ms - y.ms));
  };
  for (let n = 0; n < roundsForAll; n++) round(entries);
  const best = entries.slice(0, finalists);
  for (let n = 0; n < roundsForFinalists; n++) round(best);
  return best[0]!.candidate;
}

/** Memory for a trial; none where the device is full, for a trial must not end what would run without it. */
function allocateIfFree(runtime: CudaRuntime, bytes: number): CudaStorage | null {
  try {
    return runtime.allocate(bytes);
  } catch (error) {
    runtime.mustWork();
    if (error instanceof DeviceError) return null;
    throw error;
  }
}

/** Whether choices may be made by timing them: not in a recording, and not where every run must choose alike. */
export function mayTime({ isCapturing, deterministic }: CudaRuntime, { M, N, K }: Product): boolean {
  return !isCapturing && !deterministic && M * N * K >= fewestToTime;
}

/**
 * Milliseconds of a way to compute a product; Infinity where it is turned down. Small products run several times in
 * one measurement, in which the first launch is a large part.
 */
export function trial(runtime: CudaRuntime, { M, N, K }: Product, run: () => boolean): number {
  const runs = Math.min(8, Math.max(1, Math.round(enoughToTime / (M * N * K))));
  let isDone = true;
  const ms = runtime.timeNow(() => {
    for (let n = 0; n < runs && isDone; n++) isDone = run();
  });
  return isDone ? ms / runs : Number.POSITIVE_INFINITY;
}

/** The plan of a product's shape, made at first use. */
export function planOf(runtime: CudaRuntime, p: Product): ProductPlan {
  return runtime.keep(`product ${keyOf(p)}`, () => new ProductPlan(runtime, p));
}

/** All that the library's choice depends on. */
function keyOf({ M, N, K, type, outType, a, b, bias, preGelu, slopeOf, residual, out }: Product): string {
  const operand = ({ turned, address }: Operand) => `${turned ? "t" : "n"}${alignmentOf(address)}`;
  const memory = [bias, preGelu, slopeOf, residual, out].map((address) => (address ? alignmentOf(address) : "-"));
  return [M, N, K, type, outType, operand(a), operand(b), ...memory].join(" ");
}

/** The largest power of two that divides an address, up to the 256 that the library takes for granted. */
function alignmentOf(address: number): number {
  let alignment = 256;
  while (address % alignment !== 0) alignment /= 2;
  return alignment;
}

/**
 * How the parts of a split sum may be added: in float32 only, whatever the output's type. A separate step adds them in
 * a fixed order; in place, blocks take turns.
 */
function reductionsFor({ deterministic }: CudaRuntime, { outType }: Product): number {
  if (outType !== "f32") return reduction.computeType;
  return reduction.computeType | reduction.outputType | (deterministic ? 0 : reduction.inPlace);
}

function describe(runtime: CudaRuntime, p: Product): Handle {
  const { products } = runtime;
  const description = readHandle((at) => products.call("cublasLtMatmulDescCreate", at, computeFloat32, dataType.f32));
  runtime.atDispose(() => products.attempt("cublasLtMatmulDescDestroy", description));
  const set = (name: number, value: Int32Array | BigInt64Array) =>
    products.call("cublasLtMatmulDescSetAttribute", description, name, value, value.byteLength);
  set(attribute.operationA, Int32Array.of(p.b.turned ? operation.turned : operation.asIs));
  set(attribute.operationB, Int32Array.of(p.a.turned ? operation.turned : operation.asIs));
  set(attribute.epilogue, Int32Array.of(epilogueOf(p)));
  if (p.preGelu || p.slopeOf) set(attribute.auxLeadingDimension, BigInt64Array.of(BigInt(p.N)));
  return description;
}

function epilogueOf({ bias, preGelu, slopeOf }: Product): number {
  if (slopeOf) return epilogue.geluSlope;
  if (preGelu) return bias ? epilogue.geluBias : epilogue.gelu;
  return bias ? epilogue.bias : epilogue.none;
}
