import { ShapeError } from "../errors.ts";
import { requireWhole } from "./arguments.ts";
import { type AttentionShape, keyHeadOf, type Part, type Pattern } from "./pattern.ts";

/**
 * A pattern for each group of heads: `heads([[6, window(256)], [6, hash({...})]])` gives the first six query heads a
 * window and the next six a hash. A group's tensors hold its own heads only: [B, Tq, count] for queries, and for keys
 * [B, Tk, n] with the n key heads that its query heads read.
 * @throws ShapeError if a count is not a whole number of at least 1, or the counts do not sum to H
 */
export function heads(groups: readonly (readonly [count: number, pattern: Pattern])[]): Pattern {
  const op = "pattern.heads";
  if (groups.length === 0) throw new ShapeError(op, "there is at least one group of heads", "none");
  for (const [count, pattern] of groups) {
    requireWhole(op, `the number of heads of ${pattern.name}`, count, { least: 1 });
  }
  const counts = groups.map(([count]) => count);
  const firstHeads = counts.map((_, n) => counts.slice(0, n).reduce((sum, count) => sum + count, 0));
  const total = counts.reduce((sum, count) => sum + count, 0);
  const checkTotal = ({ H }: AttentionShape) => {
    if (total === H) return;
    throw new ShapeError(op, `the groups' heads sum to the H = ${H} heads of q`, `${counts.join(" + ")} = ${total}`);
  };
  return {
    name: `heads(${groups.map(([count, { name }]) => `${count} ${name}`).join(", ")})`,
    lower(shape) {
      checkTotal(shape);
      return groups.flatMap(([count, pattern], n) => {
        const parts = pattern.lower(groupShape(shape, firstHeads[n], count));
        return parts.map((part): Part => ({ ...part, firstHead: part.firstHead + firstHeads[n] }));
      });
    },
    async mask(shape) {
      checkTotal(shape);
      const masks = await Promise.all(
        groups.map(([count, pattern], n) => pattern.mask(groupShape(shape, firstHeads[n], count))),
      );
      return (b, h, i, j) => {
        const n = firstHeads.findLastIndex((first) => first <= h);
        return masks[n](b, h - firstHeads[n], i, j);
      };
    },
  };
}

/** The shape of `count` query heads from `first` on, and of the key heads that they read. */
export function groupShape(shape: AttentionShape, first: number, count: number): AttentionShape {
  const headsPerKeyHead = shape.sharing?.headsPerKeyHead ?? shape.H / shape.Hk;
  const headsBefore = (first + (shape.sharing?.headsBefore ?? 0)) % headsPerKeyHead;
  const Hk = keyHeadOf(shape, first + count - 1) - keyHeadOf(shape, first) + 1;
  const { B, Tq, Tk } = shape;
  const sharing = Hk > 1 && headsPerKeyHead * Hk !== count ? { sharing: { headsPerKeyHead, headsBefore } } : {};
  return { B, Tq, Tk, H: count, Hk, ...sharing };
}
