import { ShapeError } from "./errors.ts";
import { lshRotations } from "./rng.ts";
import type { Tensor } from "./tensor.ts";

export interface LshOptions {
  /** How many buckets, even, 2..256. */
  readonly buckets: number;
  /** Unsigned 32-bit; the same seed draws the same rotations on every device. */
  readonly seed: number;
  /**
   * Key heads of the attention that x is hashed for, if x holds its queries: query head h then shares the rotation of
   * the key head that it reads, so that `lsh(q, { kvHeads: Hk })` and `lsh(k)` agree. Default: one rotation a head.
   */
  readonly kvHeads?: number;
  /**
   * Whether each projection is taken relative to the mean and deviation that it has had over the rows of its batch entry
   * and head up to this one, documents or not. Buckets then stay even where vectors share a mean, as hidden states come to
   * in training; plain hashing puts most of those into few buckets. Default false.
   */
  readonly balanced?: boolean;
  /**
   * The keys [B, T, Hk, D] of a balanced hash, if x holds queries that are other vectors: mean and deviation are then the keys'
   * for both, as `lsh(k, { balanced: true })` takes them, so that a query and a key that are alike still share a bucket.
   */
  readonly relativeTo?: Tensor;
}

/**
 * Angular hashing as in Reformer (Kitaev et al., arXiv 2001.04451): R normal [heads, D, buckets / 2] with its columns
 * normalised; bucket = argmax of [xR; -xR], the lowest on a tie. Vectors of like direction tend to share a bucket.
 * Balanced, the projections xR are standardised first, see `Ops.lshBuckets`.
 * @param x [B, T, H, D], any float type, strided
 * @returns i32 [B, T, H]
 * @throws ShapeError
 */
export function lsh(x: Tensor, options: LshOptions): Tensor<"i32"> {
  if (x.shape.length !== 4) throw new ShapeError("lsh", "x is [B, T, H, D]", `[${x.shape.join(", ")}]`);
  const [B, T, H, D] = x.shape;
  const R = options.buckets / 2;
  const { relativeTo = null, balanced = false } = options;
  if (relativeTo) checkRelativeTo(relativeTo, x, options);
  const kvHeads = options.kvHeads ?? relativeTo?.shape[2];
  const rotations = x.device.tensor(sharedRotations({ ...options, H, D, ...(kvHeads && { kvHeads }) }), [H, D, R]);
  const moments = balanced ? x.device.empty([B, H, R, 2]) : null;
  const out = x.device.empty([B, T, H], "i32");
  x.device.ops.lshBuckets({ x, rotations, moments, relativeTo, out });
  rotations.dispose();
  moments?.dispose();
  return out;
}

function checkRelativeTo({ shape }: Tensor, x: Tensor, { balanced, kvHeads }: LshOptions): void {
  if (!balanced) throw new ShapeError("lsh", "relativeTo goes with balanced: true", "balanced: false");
  const [B, T, H, D] = x.shape;
  const heads = shape[2]!;
  if (shape.join() === [B, T, heads, D].join() && H! % heads === 0 && heads === (kvHeads ?? heads)) return;
  const rule = `relativeTo is [B, T, Hk, D] of x [${x.shape.join(", ")}], where Hk is kvHeads and divides the heads of x`;
  throw new ShapeError("lsh", rule, `[${shape.join(", ")}]${kvHeads === undefined ? "" : `, kvHeads=${kvHeads}`}`);
}

/**
 * Rotations for the hashing of H heads of which runs of H / kvHeads share one.
 * @returns [H, D, buckets / 2], row-major
 * @throws ShapeError
 */
export function sharedRotations({
  buckets,
  seed,
  H,
  D,
  kvHeads = H,
}: LshOptions & { readonly H: number; readonly D: number }): Float32Array {
  if (!Number.isInteger(buckets / 2) || buckets < 2 || buckets > 256) {
    throw new ShapeError("lsh", "buckets is an even number from 2 to 256", `${buckets}`);
  }
  if (!Number.isInteger(H / kvHeads)) {
    throw new ShapeError("lsh", "kvHeads divides the heads of x", `H=${H}, kvHeads=${kvHeads}`);
  }
  const drawn = lshRotations({ seed, H: kvHeads, D, buckets });
  const size = (D * buckets) / 2;
  const shared = new Float32Array(H * size);
  for (let h = 0; h < H; h++) {
    const kHead = Math.floor((h * kvHeads) / H);
    shared.set(drawn.subarray(kHead * size, (kHead + 1) * size), h * size);
  }
  return shared;
}
