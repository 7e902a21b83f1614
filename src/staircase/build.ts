import type { HostStaircase, StaircaseRule } from "./staircase.ts";

/** A `StaircaseRule` with its data on the host, dense and in row-major order. */
export interface HostRule extends Pick<StaircaseRule, "groupCount" | "near" | "far" | "chunk" | "keepMasks"> {
  /** [B, Tk] or null; see `StaircaseRule`. */
  readonly documents: Int32Array | null;
  /** [B, Tq, H] or null */
  readonly qGroups: Int32Array | null;
  /** [B, Tk, Hk] or null */
  readonly kGroups: Int32Array | null;
}

/** Sizes of the heads that a rule covers; Hk divides H. */
export interface RuleSize {
  readonly B: number;
  readonly Tq: number;
  readonly Tk: number;
  readonly H: number;
  readonly Hk: number;
}

/** Fetches a rule's data from the device. */
export async function readRule(rule: StaircaseRule): Promise<HostRule> {
  const [documents, qGroups, kGroups] = await Promise.all([
    rule.documents?.read() ?? null,
    rule.qGroups?.read() ?? null,
    rule.kGroups?.read() ?? null,
  ]);
  return { ...rule, documents, qGroups, kGroups };
}

/**
 * The staircase of one head by its rule, in O(T log T): the plain statement of what `Ops.staircase` computes.
 * @param rule data on the host
 * @param size sizes of the heads that the rule covers
 * @param head which batch entry, and which query head of those
 */
export function buildStaircase(rule: HostRule, size: RuleSize, head: { b: number; h: number }): HostStaircase {
  const { Tq, Tk } = size;
  const { near, far, chunk } = rule;
  const positionOffset = Tk - Tq;
  const { qBlock, kBlock } = blocks(rule, size, head);
  const qRows = visitOrder(qBlock);
  const kRows = visitOrder(kBlock);
  const keysInPlay = kBlock.reduce((n, block) => n + (block === outOfPlay ? 0 : 1), 0);

  const lo = new Int32Array(Tq);
  const hi = new Int32Array(Tq);
  let first = 0;
  let end = 0;
  for (let n = 0; n < Tq; n++) {
    const block = qBlock[qRows[n]];
    const position = qRows[n] + positionOffset;
    // Both orders run by block and, within it, by position, so neither end of the interval ever moves back.
    const standsBefore = (m: number, limit: number) => {
      const row = kRows[m];
      return kBlock[row] < block || (kBlock[row] === block && row < limit);
    };
    while (first < keysInPlay && standsBefore(first, position - far)) first++;
    while (end < keysInPlay && standsBefore(end, position - near + 1)) end++;
    hi[n] = Math.max(first, end);
    const previousChunk = (Math.floor((hi[n] - 1) / chunk) - 1) * chunk;
    lo[n] = hi[n] > first ? Math.max(first, previousChunk) : first;
  }
  return { qRows, kRows, lo, hi };
}

const outOfPlay = Number.POSITIVE_INFINITY;

/** For each query and key row, the number of its (document, group), in visit order. Float64: 256 groups times T documents. */
function blocks(rule: HostRule, size: RuleSize, { b, h }: { b: number; h: number }) {
  const { Tq, Tk, H, Hk } = size;
  const kHead = Math.floor((h * Hk) / H);
  const document = documentNumbers(rule.documents?.subarray(b * Tk, (b + 1) * Tk) ?? null, Tk);
  const block = (document: number, group: number) => {
    const g = rule.keepMasks ? (group !== 0 ? 0 : -1) : group;
    return g < 0 || g >= rule.groupCount ? outOfPlay : document * rule.groupCount + g;
  };
  // A query before the first key's position sees nothing wherever it stands: it goes to the first document.
  const qDocument = (i: number) => document[Math.max(0, i + Tk - Tq)] ?? 0;
  const firstGroup = rule.keepMasks ? 1 : 0;
  const qGroup = (i: number) => rule.qGroups?.[(b * Tq + i) * H + h] ?? firstGroup;
  const kGroup = (j: number) => rule.kGroups?.[(b * Tk + j) * Hk + kHead] ?? firstGroup;
  return {
    qBlock: Float64Array.from({ length: Tq }, (_, i) => block(qDocument(i), qGroup(i))),
    kBlock: Float64Array.from({ length: Tk }, (_, j) => block(document[j], kGroup(j))),
  };
}

/** Numbers the runs of equal ids 0, 1, 2, ... */
function documentNumbers(ids: Int32Array | null, length: number): Int32Array {
  const numbers = new Int32Array(length);
  if (ids) for (let j = 1; j < length; j++) numbers[j] = numbers[j - 1] + (ids[j] === ids[j - 1] ? 0 : 1);
  return numbers;
}

/** Rows by block, stable; rows out of play last. */
function visitOrder(block: Float64Array): Int32Array {
  const length = block.length;
  const last = block.reduce((most, x) => (x === outOfPlay ? most : Math.max(most, x)), -1) + 1;
  // One exact number per row, so that the native numeric sort does the work.
  const keyed = block.map((x, row) => Math.min(x, last) * length + row).sort();
  return Int32Array.from(keyed, (x) => x % length);
}
