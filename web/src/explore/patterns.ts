import { type Device, type HostStaircase, lsh, type Pattern, pattern, plan, type Tensor, type TileCounts } from "scfa";
import { Random } from "../ui/random.ts";
import type { PatternChoice, PatternName } from "./catalogue.ts";

/** A pattern's staircases for one head, with their sizes: what the pictures are drawn from. */
export interface PatternPlan {
  readonly choice: PatternChoice;
  /** One, or those of a union. */
  readonly parts: readonly PlannedPart[];
  readonly visiblePairs: number;
  /** Of the pairs that dense causal attention sees. */
  readonly visibleShare: number;
  readonly tiles: TileCounts;
  /** Tiles that dense causal attention visits. */
  readonly denseTiles: number;
}

export interface PlannedPart extends HostStaircase {
  readonly tiles: TileCounts;
}

/** What a choice comes to, by the package's own plan. */
export async function planChoice(device: Device, choice: PatternChoice): Promise<PatternPlan> {
  const { T, tile } = choice;
  const shape = { B: 1, Tq: T, Tk: T, H: 1, Hk: 1 };
  const blocks = { blockM: tile, blockN: tile };
  const held = new Held(device);
  try {
    const made = await plan(makers[choice.name](held, choice), shape, blocks);
    const dense = await plan(pattern.dense(), shape, blocks);
    const parts = made.parts.map(({ heads: [head] }) => {
      const { qRows, kRows, lo, hi, tiles } = head!;
      return { qRows, kRows, lo, hi, tiles };
    });
    const { visiblePairs, visibleShare, tiles } = made;
    return { choice, parts, visiblePairs, visibleShare, tiles, denseTiles: dense.tiles.partial + dense.tiles.full };
  } finally {
    held.dispose();
  }
}

/** Tensors that a pattern looks at while it is planned. */
class Held {
  readonly #tensors: Pick<Tensor, "dispose">[] = [];
  constructor(readonly device: Device) {}

  integers(data: Int32Array, shape: readonly number[]): Tensor<"i32"> {
    return this.keep(this.device.tensor(data, shape));
  }

  keep<T extends Pick<Tensor, "dispose">>(tensor: T): T {
    this.#tensors.push(tensor);
    return tensor;
  }

  dispose(): void {
    for (const tensor of this.#tensors) tensor.dispose();
  }
}

const makers: Readonly<Record<PatternName, (held: Held, choice: PatternChoice) => Pattern>> = {
  dense: () => pattern.dense(),
  window: (_, { numbers }) => pattern.window(numbers["window"]!),
  documents(held, { numbers, T, seed }) {
    const starts = new Set(chosen(T - 1, numbers["documents"]! - 1, seed).map((place) => place + 1));
    let id = 0;
    const ids = Int32Array.from({ length: T }, (_, t) => (starts.has(t) ? ++id : id));
    return pattern.documents(held.integers(ids, [1, T]));
  },
  drop(held, { numbers, T, seed }) {
    const kept = (stream: number) => {
      const random = new Random(seed * 2 + stream);
      return held.integers(
        Int32Array.from({ length: T }, () => (random.uniform() * 100 < numbers["dropped"]! ? 0 : 1)),
        [1, T, 1],
      );
    };
    return pattern.drop({ qKeep: kept(0), kKeep: kept(1) });
  },
  hash: (held, choice) => pattern.hash(hashed(held, choice)),
  windowHash(held, choice) {
    const beyond = choice.numbers["window"]!;
    return pattern.union(pattern.window(beyond), pattern.hash({ ...hashed(held, choice), beyond }));
  },
  stripes(held, { numbers, T, seed }) {
    const beyond = numbers["window"]!;
    const columns = new Int32Array(T);
    for (const column of chosen(T, numbers["stripes"]!, seed)) columns[column] = 1;
    const kKeep = held.integers(columns, [1, T, 1]);
    return pattern.union(pattern.window(beyond), pattern.stripes({ kKeep, beyond }));
  },
  hdt: (_, choice) => hierarchical(choice),
};

/** Head dimension of the vectors that are hashed. */
const D = 16;

/** Buckets of random vectors, shared by queries and keys; skew is what all vectors have in common. */
function hashed(held: Held, { numbers, T, seed }: PatternChoice) {
  const random = new Random(seed);
  const common = Array.from({ length: D }, () => ((numbers["skew"] ?? 0) / 6) * random.normal());
  const vectors = Float32Array.from({ length: T * D }, (_, i) => random.normal() + common[i % D]!);
  const buckets = numbers["buckets"]!;
  const x = held.keep(held.device.tensor(vectors, [1, T, 1, D]));
  const qBuckets = held.keep(lsh(x, { buckets, seed }));
  return { qBuckets, kBuckets: qBuckets, buckets };
}

/**
 * Hierarchical documents (He et al., "HDT: Hierarchical Document Transformer", arXiv 2407.08330): the first row of each
 * sentence is its anchor, of each section's first sentence the section's too, and row 0 the document's. Each level is a
 * staircase of blocks; an anchor sees itself on its highest level only, so that no pair counts twice.
 */
function hierarchical({ numbers, T }: PatternChoice): Pattern {
  const sentence = numbers["sentence"]!;
  const section = sentence * numbers["section"]!;
  const rows = (step: number) => Array.from({ length: Math.ceil(T / step) }, (_, i) => i * step);
  return pattern.union(
    blocks(rows(1), sentence, sentence),
    blocks(rows(sentence), section, section),
    blocks(rows(section), T, Number.POSITIVE_INFINITY),
  );
}

/**
 * Rows that see each other within blocks of `size` positions, but for an anchor of the level above (a multiple of `above`),
 * which does not see itself here. Such a query stands last in its block and such a key first: then its interval is one.
 */
function blocks(rows: readonly number[], size: number, above: number): Pattern {
  const qRows: number[] = [];
  const kRows: number[] = [];
  const lo: number[] = [];
  const hi: number[] = [];
  for (let at = 0; at < rows.length; ) {
    const start = Math.floor(rows[at]! / size) * size;
    const block = rows.slice(at).filter((row) => row < start + size);
    const leader = block[0]! % above === 0 && Number.isFinite(above) ? block[0]! : null;
    const others = leader === null ? block : block.slice(1);
    const first = kRows.length;
    const end = first + block.length;
    kRows.push(...block);
    for (const row of others) {
      qRows.push(row);
      lo.push(first);
      hi.push(end);
    }
    if (leader !== null) {
      qRows.push(leader);
      lo.push(Math.min(first + 1, end));
      hi.push(end);
    }
    at += block.length;
  }
  const [q, k, from, to] = [qRows, kRows, lo, hi].map((list) => Int32Array.from(list));
  return pattern.staircase({ qRows: q!, kRows: k!, lo: from!, hi: to! });
}

/** `count` different numbers below `below`. */
function chosen(below: number, count: number, seed: number): number[] {
  const random = new Random(seed);
  const all = Array.from({ length: below }, (_, n) => ({ n, order: random.uniform() }));
  return all
    .sort((a, b) => a.order - b.order)
    .slice(0, count)
    .map(({ n }) => n);
}
