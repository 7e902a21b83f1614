import { bytesPerElement, type DType, type FloatType, type Tensor } from "../../tensor.ts";
import { addressOf } from "./kernel_arguments.ts";
import { linearAny } from "./linear_any.ts";
import { productEpilogue } from "./product_epilogue.ts";
import { mayTime, planOf, trial } from "./product_plan.ts";
import type { CudaRuntime } from "./runtime.ts";

/** A contiguous row-major matrix in device memory; if `turned`, its transpose takes part. */
export interface Operand {
  readonly address: number;
  readonly turned: boolean;
}

/**
 * out [M, N] = a [M, K] b [K, N], then in this order: + bias [N]; into preGelu [M, N], and gelu of it; times gelu' of
 * slopeOf [M, N]; + residual [M, N]. Memory by address, 0 where there is none; `residual` may be `out`.
 */
export interface Product {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly a: Operand;
  readonly b: Operand;
  /** Of everything but `out` and `residual`. */
  readonly type: "bf16" | "f16";
  /** Of `out` and `residual`: `type`, or f32 where there is no bias, preGelu or slopeOf. */
  readonly outType: FloatType;
  readonly bias: number;
  readonly preGelu: number;
  readonly slopeOf: number;
  readonly residual: number;
  readonly out: number;
}

export const asIs = (tensor: Tensor<DType>): Operand => ({ address: addressOf(tensor), turned: false });
export const turned = (tensor: Tensor<DType>): Operand => ({ address: addressOf(tensor), turned: true });

/** The address of a tensor that may be missing. */
export const addressOrNone = (tensor: Tensor<DType> | null | undefined): number => (tensor ? addressOf(tensor) : 0);

const float32PassBytes = 64 << 20;

/**
 * Enqueues a product. cuBLASLt does all of it where it can; else it multiplies and a kernel of our own does the rest;
 * what it does not multiply at all, `linear_any.cu` does.
 */
export function product(runtime: CudaRuntime, p: Product): void {
  if (p.M === 0 || p.N === 0) return;
  const isDone = p.K > 0 && (inOnePass(runtime, p) || throughFloat32(runtime, p));
  if (!isDone) linearAny(runtime, p);
}

/** In one call of cuBLASLt, or in the two passes that were found to be faster. @returns false where it cannot */
function inOnePass(runtime: CudaRuntime, p: Product): boolean {
  if (!isFusable(p)) return false;
  const plan = planOf(runtime, p);
  if ((p.preGelu || p.slopeOf) && mayTime(runtime, p)) plan.isWorthFusing ??= isFasterInOnePass(runtime, p);
  if (plan.isWorthFusing === false) return inTwoPasses(runtime, p);
  return plan.run(p);
}

/**
 * cuBLASLt adds the residual before its epilogue, so residual and gelu do not go together there. Its epilogues read
 * and write 16 bytes at once.
 */
function isFusable({ N, bias, preGelu, slopeOf, residual, out, outType }: Product): boolean {
  const aux = preGelu || slopeOf;
  // Over a residual in place 16-bit results come out with one rounding more (seen with cuBLASLt 13.1 and bfloat16).
  if (bias % 16 !== 0 || (outType !== "f32" && residual !== 0 && residual === out)) return false;
  return aux === 0 || (residual === 0 && N % 8 === 0 && aux % 16 === 0);
}

/** Runs both ways, which leave the same outputs, and times them. */
function isFasterInOnePass(runtime: CudaRuntime, p: Product): boolean {
  const ways = [() => planOf(runtime, p).run(p), () => inTwoPasses(runtime, p)];
  // Once untimed: algorithms are chosen and the kernel is compiled now.
  if (!ways.every((way) => way())) return true;
  const best = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < 4; round++) {
    for (const [n, way] of ways.entries()) best[n] = Math.min(best[n], trial(runtime, p, way));
  }
  return best[0] <= best[1];
}

/**
 * The product with its bias into 16-bit memory that is an output anyway, then gelu or its slope by a kernel. Two
 * roundings: at most 1.07 units in the last place, against half a unit of the plain way, so within twice its error
 * where there are enough elements for its error to come near its bound; only large products are done so.
 */
function inTwoPasses(runtime: CudaRuntime, p: Product): boolean {
  const sum = p.preGelu || p.out;
  const first = { ...p, preGelu: 0, slopeOf: 0, out: sum };
  if (!planOf(runtime, first).run(first)) return false;
  productEpilogue(runtime, { ...p, sum, sumType: p.type, bias: 0 });
  return true;
}

/**
 * The bare product into float32 scratch, some rows at a time, then all of the epilogue by a kernel.
 * @returns false where there is no epilogue to part from the product
 */
function throughFloat32(runtime: CudaRuntime, p: Product): boolean {
  const { M, N, K, a, type, outType } = p;
  const hasEpilogue = p.bias || p.preGelu || p.slopeOf || p.residual;
  if (!hasEpilogue || outType === "f32" || a.turned) return false;
  const most = Math.max(1, Math.floor(float32PassBytes / (4 * N)));
  const rowsAtOnce = most >= 128 ? most - (most % 128) : most;
  const bytes = bytesPerElement[type];
  return runtime.withScratch(Math.min(M, rowsAtOnce) * N * 4, (sum) => {
    for (let row = 0; row < M; row += rowsAtOnce) {
      const rows = Math.min(rowsAtOnce, M - row);
      const from = (address: number) => address && address + row * N * bytes;
      const part = {
        ...{ ...p, M: rows, a: { ...a, address: a.address + row * K * bytes }, out: from(p.out) },
        ...{ preGelu: from(p.preGelu), slopeOf: from(p.slopeOf), residual: from(p.residual) },
      };
      const bare = { ...part, bias: 0, preGelu: 0, slopeOf: 0, residual: 0, outType: "f32" as const, out: sum };
      if (planOf(runtime, bare).run(bare)) productEpilogue(runtime, { ...part, sum, sumType: "f32" });
      // Part by part: where `residual` is `out`, rows that are done must not be done again.
      else linearAny(runtime, part);
    }
    return true;
  });
}
