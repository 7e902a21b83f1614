import { partOfRule, requireWhole } from "./arguments.ts";
import { checkHashOptions, type HashOptions, hash } from "./hash.ts";
import type { Pattern } from "./pattern.ts";
import { keyValues, sameDocument } from "./words.ts";

/**
 * Reformer's chunked hashing (Kitaev et al., arXiv 2001.04451): keys in play, sorted by (document, bucket, position),
 * are cut into chunks, and of what `hash` shows a query it sees no key before the chunk that precedes the chunk of the
 * last one. So the cost stays bounded however skewed the buckets are.
 * @param chunk keys in a chunk, at least 1
 * @throws ShapeError, DTypeError
 */
export function chunkedHash({ chunk, ...options }: HashOptions & { readonly chunk: number }): Pattern {
  const op = "pattern.chunkedHash";
  requireWhole(op, "chunk", chunk, { least: 1 });
  const { qBuckets, kBuckets, buckets, near, documents } = checkHashOptions(op, options);
  return {
    name: `chunkedHash(${buckets}, chunk ${chunk})`,
    lower: (shape) =>
      partOfRule(op, { q: "qBuckets", k: "kBuckets" }, shape, {
        documents,
        qGroups: qBuckets,
        kGroups: kBuckets,
        groupCount: buckets,
        near,
        chunk,
      }),
    async mask(shape) {
      const inBucket = await hash(options).mask(shape);
      const bucketOf = await keyValues(kBuckets, shape);
      const together = await sameDocument(documents, shape);
      const keys = Array.from({ length: shape.Tk }, (_, j) => j);
      const chunksOf = remember((b: number, h: number) => {
        const inPlay = keys.filter((j) => bucketOf(b, h, j) >= 0 && bucketOf(b, h, j) < buckets);
        inPlay.sort((j, other) => {
          if (!together(b, j, other)) return j - other;
          return bucketOf(b, h, j) - bucketOf(b, h, other) || j - other;
        });
        return new Map(inPlay.map((j, place) => [j, Math.floor(place / chunk)]));
      });
      const seenBy = remember((b: number, h: number, i: number) => {
        const seen = keys.filter((j) => inBucket(b, h, i, j));
        const chunks = chunksOf(b, h);
        return new Set(seen.filter((j) => chunks.get(j)! >= chunks.get(seen.at(-1)!)! - 1));
      });
      return (b, h, i, j) => seenBy(b, h, i).has(j);
    },
  };
}

/** Works each value out once. */
function remember<T>(compute: (...place: number[]) => T): (...place: number[]) => T {
  const values = new Map<string, T>();
  return (...place) => {
    const name = place.join();
    if (!values.has(name)) values.set(name, compute(...place));
    return values.get(name)!;
  };
}
