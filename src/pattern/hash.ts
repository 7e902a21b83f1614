import { ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { partOfRule, requireIndices, requireWhole } from "./arguments.ts";
import type { Pattern } from "./pattern.ts";
import { keyValues, positionOf, queryValues, sameDocument } from "./words.ts";

/** Which bucket each query and key fell into, and who sees whom among those of one bucket. */
export interface HashOptions {
  /** i32 [B, Tq, H], from `lsh` or anywhere; a value outside 0 .. buckets-1 takes the query out: o = 0 */
  readonly qBuckets: Tensor<"i32">;
  /** i32 [B, Tk, Hk]; a value outside 0 .. buckets-1 takes the key out */
  readonly kBuckets: Tensor<"i32">;
  /** How many buckets there are, 1..256. Default 256; sorting is quicker with the true number. */
  readonly buckets?: number;
  /** Whether a query sees the key at its own position. Default true; the paper's language models say false. */
  readonly diagonal?: boolean;
  /** Smallest distance seen, at least 1: `window(w)` and `beyond: w` share no pair and leave none out. */
  readonly beyond?: number;
  /** i32 [B, Tk]: nothing is seen across the ends of runs of equal ids. */
  readonly documents?: Tensor<"i32"> | null;
}

/**
 * Hash-sparse attention (Pagliardini et al., arXiv 2306.01160): a query sees the keys of its own bucket at and before
 * its position. The buckets of queries and of keys may be independent, skewed or empty.
 * @throws ShapeError, DTypeError
 */
export function hash(options: HashOptions): Pattern {
  const op = "pattern.hash";
  const { qBuckets, kBuckets, buckets, near, documents } = checkHashOptions(op, options);
  return {
    name: `hash(${buckets}${options.beyond === undefined ? "" : `, beyond ${options.beyond}`})`,
    lower: (shape) =>
      partOfRule(op, { q: "qBuckets", k: "kBuckets" }, shape, {
        documents,
        qGroups: qBuckets,
        kGroups: kBuckets,
        groupCount: buckets,
        near,
      }),
    async mask(shape) {
      const qBucket = await queryValues(qBuckets, shape);
      const kBucket = await keyValues(kBuckets, shape);
      const together = await sameDocument(documents, shape);
      return (b, h, i, j) => {
        const p = positionOf(shape, i);
        const bucket = qBucket(b, h, i);
        if (bucket < 0 || bucket >= buckets || bucket !== kBucket(b, h, j) || !together(b, p, j)) return false;
        if (options.beyond !== undefined) return p - j >= options.beyond;
        return options.diagonal === false ? j < p : j <= p;
      };
    },
  };
}

/** The options of `hash` and `chunkedHash`, checked and with defaults. */
export function checkHashOptions(op: string, options: HashOptions) {
  const { qBuckets, kBuckets, buckets = 256, diagonal = true, beyond, documents = null } = options;
  requireIndices(op, "qBuckets", qBuckets);
  requireIndices(op, "kBuckets", kBuckets);
  if (documents) requireIndices(op, "documents", documents);
  requireWhole(op, "buckets", buckets, { least: 1, most: 256 });
  if (beyond !== undefined) {
    requireWhole(op, "beyond", beyond, { least: 1, fix: "Leave it out to see every distance." });
  }
  if (typeof diagonal !== "boolean") throw new ShapeError(op, "diagonal is true or false", `${diagonal}`);
  return { qBuckets, kBuckets, buckets, documents, near: beyond ?? (diagonal ? 0 : 1) };
}
