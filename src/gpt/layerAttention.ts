import type { Device } from "../device/device.ts";
import { type Pattern, pattern } from "../pattern/index.ts";
import { deriveSeed, lshRotations } from "../rng.ts";
import type { Tensor } from "../tensor.ts";
import type { Arena } from "./arena.ts";
import type { Heads, PassShape } from "./block.ts";
import { headDimension, type ModelConfig } from "./config.ts";
import type { HeadPattern, LayerAttention } from "./notation.ts";

/** What random choices (rotations, dropped rows) are drawn from. Equal draws choose equally, on every device. */
export interface Draw {
  readonly seed: number;
  /** Number of the pass: the micro-step while training. */
  readonly index: number;
}

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
  readonly #groups: HeadGroup[];
  readonly #documents: Tensor<"i32"> | null;

  /** @param documents i32 [B,T], shared by all layers; or null */
  constructor(
    arena: Arena,
    config: ModelConfig,
    {
      layer,
      attention,
      shape,
      documents,
    }: { layer: number; attention: LayerAttention; shape: PassShape; documents: Tensor<"i32"> | null },
  ) {
    let firstHead = 0;
    this.#documents = documents;
    this.#groups = attention.map(({ heads, pattern }, group) => {
      const place = { firstHead, headCount: heads, part: layer * config.heads + group };
      firstHead += heads;
      return new HeadGroup(arena, config, shape, pattern, place);
    });
  }

  /** Chooses rotations and dropped rows for the next pass. */
  redraw(draw: Draw): void {
    for (const group of this.#groups) group.redraw(draw);
  }

  /** Computes ahead what `redraw` with the same draw will upload; for the host to do while the device is busy. */
  prepare(draw: Draw): void {
    for (const group of this.#groups) group.prepare(draw);
  }

  /** Hashes the given rows. @param heads q [B, end - first, H, D] and k [B, end - first, Hk, D] of those rows */
  hash(heads: Heads, rows: RowRange): void {
    for (const group of this.#groups) group.hash(heads, rows);
  }

  /** What the queries of `rows` see among the keys before `rows.end`. Looks at data that `hash` and `redraw` change. */
  pattern(rows: RowRange): Pattern {
    const groups = this.#groups.map((group) => [group.headCount, group.pattern(rows)] as const);
    const joint = groups.length === 1 ? groups[0]![1] : pattern.heads(groups);
    return this.#documents ? withinDocuments(joint, rowsOf(this.#documents, 0, rows.end)) : joint;
  }
}

/** A run of query heads that share a pattern, and the data of that pattern. */
class HeadGroup {
  readonly headCount: number;
  readonly #device: Device;
  readonly #firstHead: number;
  readonly #firstKeyHead: number;
  readonly #keyHeadCount: number;
  /** Tells this group's random choices from all others'. */
  readonly #part: number;
  /** i32 [B, T, headCount] and [B, T, keyHeadCount]: buckets or keep masks; null where the pattern has none. */
  readonly #q: Tensor<"i32"> | null = null;
  readonly #k: Tensor<"i32"> | null = null;
  /** f32 [headCount, D, buckets / 2] and [keyHeadCount, D, buckets / 2]; a key head's are those of its query heads. */
  readonly #qRotations: Tensor | null = null;
  readonly #kRotations: Tensor | null = null;
  /** What the rotations on the device, and those made ahead on the host, were drawn from. */
  #drawnSeed: number | null = null;
  #prepared: { readonly seed: number; readonly q: Float32Array; readonly k: Float32Array } | null = null;

  constructor(
    arena: Arena,
    readonly config: ModelConfig,
    { B, T }: PassShape,
    readonly headPattern: HeadPattern,
    { firstHead, headCount, part }: { firstHead: number; headCount: number; part: number },
  ) {
    this.#device = arena.device;
    const perKeyHead = config.heads / config.kvHeads;
    this.headCount = headCount;
    this.#firstHead = firstHead;
    this.#firstKeyHead = Math.floor(firstHead / perKeyHead);
    this.#keyHeadCount = Math.floor((firstHead + headCount - 1) / perKeyHead) - this.#firstKeyHead + 1;
    this.#part = part;
    const { kind } = headPattern;
    if (kind === "dense" || kind === "window") return;
    this.#q = arena.zeros([B, T, headCount], "i32");
    // Normalising a query does not change its bucket, so shared queries and keys share buckets; dropping never does.
    const sharesBuckets = config.sharedQK && kind !== "drop";
    this.#k = sharesBuckets ? this.#q : arena.zeros([B, T, this.#keyHeadCount], "i32");
    if (kind === "drop") return;
    const D = headDimension(config);
    this.#qRotations = arena.empty([headCount, D, headPattern.buckets / 2]);
    if (!sharesBuckets) this.#kRotations = arena.empty([this.#keyHeadCount, D, headPattern.buckets / 2]);
  }

  redraw({ seed, index }: Draw): void {
    const { kind } = this.headPattern;
    if (kind === "drop") {
      const keep = 1 - this.headPattern.share;
      const drawSeed = deriveSeed(seed, index, this.#part);
      this.#device.ops.keepMask({ seed: drawSeed, stream: 0, keep, out: this.#q! });
      this.#device.ops.keepMask({ seed: drawSeed, stream: 1, keep, out: this.#k! });
    }
    const rotationSeed = this.#rotationSeed({ seed, index });
    if (rotationSeed === null || rotationSeed === this.#drawnSeed) return;
    this.prepare({ seed, index });
    this.#drawnSeed = rotationSeed;
    this.#qRotations!.write(this.#prepared!.q);
    this.#kRotations?.write(this.#prepared!.k);
  }

  prepare(draw: Draw): void {
    const seed = this.#rotationSeed(draw);
    if (seed === null || seed === this.#drawnSeed || seed === this.#prepared?.seed) return;
    const [heads, D, columns] = this.#qRotations!.shape as [number, number, number];
    const k = lshRotations({ seed, H: this.#keyHeadCount, D, buckets: 2 * columns });
    if (heads === this.#keyHeadCount) {
      this.#prepared = { seed, q: k, k };
      return;
    }
    // Query heads get the rotations of their key head, so that alike queries and keys meet in a bucket.
    const perKeyHead = this.config.heads / this.config.kvHeads;
    const q = new Float32Array(heads * D * columns);
    for (let h = 0; h < heads; h++) {
      const keyHead = Math.floor((this.#firstHead + h) / perKeyHead) - this.#firstKeyHead;
      q.set(k.subarray(keyHead * D * columns, (keyHead + 1) * D * columns), h * D * columns);
    }
    this.#prepared = { seed, q, k };
  }

  /** What the rotations of a pass are drawn from; null if the pattern has none. */
  #rotationSeed({ seed, index }: Draw): number | null {
    if (!this.#qRotations) return null;
    const { rotations, seed: modelSeed } = this.config;
    return rotations === "fixed" ? deriveSeed(modelSeed, 0, this.#part) : deriveSeed(seed, index, this.#part);
  }

  hash({ q, k }: Heads, { first, end }: RowRange): void {
    if (!this.#qRotations) return;
    const { ops } = this.#device;
    ops.lshBuckets({
      x: q.slice(2, this.#firstHead, this.headCount),
      rotations: this.#qRotations,
      out: rowsOf(this.#q!, first, end),
    });
    if (!this.#kRotations) return;
    ops.lshBuckets({
      x: k.slice(2, this.#firstKeyHead, this.#keyHeadCount),
      rotations: this.#kRotations,
      out: rowsOf(this.#k!, first, end),
    });
  }

  pattern({ first, end }: RowRange): Pattern {
    const { headPattern } = this;
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

/**
 * Numbers the documents of each sequence: the token after each `documentEnd` begins a new one.
 * @param tokens [B,T], row-major
 * @returns i32 [B,T]
 */
export function documentIds(tokens: Int32Array, { T }: PassShape, documentEnd: number): Int32Array {
  const ids = new Int32Array(tokens.length);
  for (let i = 0; i < tokens.length; i++) {
    if (i % T !== 0) ids[i] = ids[i - 1]! + (tokens[i - 1] === documentEnd ? 1 : 0);
  }
  return ids;
}
