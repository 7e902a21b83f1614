import type { Device } from "../device/device.ts";
import { type Pattern, pattern } from "../pattern/index.ts";
import type { Tensor } from "../tensor.ts";
import type { Arena } from "./arena.ts";
import type { Heads, PassShape } from "./block.ts";
import type { GroupDraws } from "./draws.ts";
import type { HeadGroup } from "./headGroups.ts";

/** Rows `first` up to `end` of a sequence: what one pass computes, after `first` rows that are cached. */
export interface RowRange {
  readonly first: number;
  readonly end: number;
}

/**
 * One layer's pattern as data on a device: the buckets and keep masks of its groups of heads for up to T rows, and the
 * pattern over them. It serves whole sequences and, for generation, the last rows of a growing one.
 */
export class LayerData {
  readonly #groups: readonly GroupData[];
  readonly #documents: Tensor<"i32"> | null;

  /**
   * @param groups this layer's, of `headGroups`
   * @param draws where their random numbers lie
   * @param documents i32 [B,T], shared by all layers; or null
   */
  constructor(
    arena: Arena,
    {
      groups,
      draws,
      shape,
      documents,
    }: {
      groups: readonly HeadGroup[];
      draws: readonly GroupDraws[];
      shape: PassShape;
      documents: Tensor<"i32"> | null;
    },
  ) {
    this.#documents = documents;
    this.#groups = groups.map((group, n) => new GroupData(arena, { group, draws: draws[n]!, shape }));
  }

  /** Chooses the rows to drop, by the keys that are on the device. */
  drop(): void {
    for (const group of this.#groups) group.drop();
  }

  /**
   * Hashes the given rows, after all rows before them.
   * @param heads q [B, end - first, H, D] and k [B, end - first, Hk, D] of those rows
   */
  hash(heads: Heads, rows: RowRange): void {
    for (const group of this.#groups) group.hash(heads, rows);
  }

  /** What the queries of `rows` see among the keys before `rows.end`. Looks at data that `hash` and `drop` change. */
  pattern(rows: RowRange): Pattern {
    const groups = this.#groups.map((group) => [group.headCount, group.pattern(rows)] as const);
    const joint = groups.length === 1 ? groups[0]![1] : pattern.heads(groups);
    return this.#documents ? withinDocuments(joint, rowsOf(this.#documents, 0, rows.end)) : joint;
  }
}

/** The data of one group of heads. */
class GroupData {
  readonly headCount: number;
  readonly #device: Device;
  readonly #group: HeadGroup;
  readonly #draws: GroupDraws;
  /** i32 [B, T, headCount] and [B, T, keyHeadCount]: buckets or keep masks; null where the pattern has none. */
  readonly #q: Tensor<"i32"> | null = null;
  readonly #k: Tensor<"i32"> | null = null;
  /** f32 [B, headCount, R, 2] and [B, keyHeadCount, R, 2]: of the rows hashed so far; null where hashing is not balanced. */
  readonly #qMoments: Tensor | null = null;
  readonly #kMoments: Tensor | null = null;

  constructor(
    arena: Arena,
    { group, draws, shape: { B, T } }: { group: HeadGroup; draws: GroupDraws; shape: PassShape },
  ) {
    this.#device = arena.device;
    this.#group = group;
    this.#draws = draws;
    this.headCount = group.headCount;
    const { headPattern, headCount, keyHeadCount, sharesBuckets } = group;
    if (headPattern.kind === "dense" || headPattern.kind === "window") return;
    this.#q = arena.zeros([B, T, headCount], "i32");
    this.#k = sharesBuckets ? this.#q : arena.zeros([B, T, keyHeadCount], "i32");
    if (!("balanced" in headPattern) || !headPattern.balanced) return;
    const momentsOf = (heads: number) => arena.empty([B, heads, headPattern.buckets / 2, 2]);
    this.#qMoments = momentsOf(headCount);
    this.#kMoments = sharesBuckets ? null : momentsOf(keyHeadCount);
  }

  drop(): void {
    const { headPattern } = this.#group;
    if (headPattern.kind !== "drop") return;
    const keep = 1 - headPattern.share;
    this.#device.ops.keepMask({ key: this.#draws.qKey!, keep, out: this.#q! });
    this.#device.ops.keepMask({ key: this.#draws.kKey!, keep, out: this.#k! });
  }

  hash({ q, k }: Heads, { first, end }: RowRange): void {
    const { qRotations, kRotations } = this.#draws;
    const { firstHead, headCount, firstKeyHead, keyHeadCount } = this.#group;
    const [queries, keys] = [q.slice(2, firstHead, headCount), k.slice(2, firstKeyHead, keyHeadCount)];
    const { ops } = this.#device;
    // A query and a key that are alike share a bucket only if both are taken relative to the same mean: the keys', so that
    // it is keys whose buckets are even.
    const [own, theirs] = [this.#qMoments, this.#kMoments];
    const relativeTo = theirs && keys;
    const place = (buckets: Tensor<"i32">) => ({ firstPosition: first, out: rowsOf(buckets, first, end) });
    if (qRotations) ops.lshBuckets({ x: queries, rotations: qRotations, moments: own, relativeTo, ...place(this.#q!) });
    if (kRotations) ops.lshBuckets({ x: keys, rotations: kRotations, moments: theirs, ...place(this.#k!) });
  }

  pattern({ first, end }: RowRange): Pattern {
    const { headPattern } = this.#group;
    if (headPattern.kind === "dense") return pattern.dense();
    if (headPattern.kind === "window") return pattern.window(headPattern.size);
    const q = rowsOf(this.#q!, first, end);
    const k = rowsOf(this.#k!, 0, end);
    if (headPattern.kind === "drop") return pattern.drop({ qKeep: q, kKeep: k });
    const hashed = { qBuckets: q, kBuckets: k, buckets: headPattern.buckets };
    if (headPattern.kind === "hash") return pattern.hash({ ...hashed, diagonal: headPattern.diagonal });
    return pattern.union(pattern.window(headPattern.size), pattern.hash({ ...hashed, beyond: headPattern.size }));
  }
}

/** The pattern with nothing seen across the ends of documents. @param ids i32 [B, Tk]: runs of equal ids */
function withinDocuments(inner: Pattern, ids: Tensor<"i32">): Pattern {
  return {
    name: `${inner.name} within documents`,
    lower: (shape) =>
      inner.lower(shape).map((part) => {
        if ("host" in part.staircase) return part;
        return { ...part, staircase: { rule: { ...part.staircase.rule, documents: ids } } };
      }),
    async mask(shape) {
      const visible = await inner.mask(shape);
      const together = await pattern.documents(ids).mask(shape);
      return (b, h, i, j) => visible(b, h, i, j) && together(b, h, i, j);
    },
  };
}

/** Rows first .. end - 1 of [B, T, ...]; the whole tensor where those are all, so that it stays contiguous. */
function rowsOf(tensor: Tensor<"i32">, first: number, end: number): Tensor<"i32"> {
  return first === 0 && end === tensor.shape[1] ? tensor : tensor.slice(1, first, end - first);
}
