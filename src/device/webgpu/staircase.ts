import type { StaircaseRule } from "../../staircase/staircase.ts";
import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { i32, type Operand, u32 } from "./kernel_arguments.ts";
import type { WebgpuRuntime } from "./runtime.ts";

const threads = 256;
const constants = { THREADS: threads };
const noLimit = 2 ** 31 - 1;

type Args = Parameters<Ops["staircase"]>[0];
type Groups = Tensor<"i32">;

/** One side's order: what of it is a table. */
interface Order {
  readonly rows: Operand | null;
  readonly starts: Operand | null;
  /** With documents, the group of each place. */
  readonly buckets: Operand | null;
}

const identity: Order = { rows: null, starts: null, buckets: null };

/** See `Ops.staircase`. */
export function staircase(runtime: WebgpuRuntime, { rule, out }: Args): void {
  const { qGroups, kGroups } = rule;
  const Tk = out.qLo.shape[2]!;
  const documents = Tk > 0 ? rule.documents : null;
  const groupCount = rule.keepMasks ? 1 : rule.groupCount;
  const sizes = [qGroups, kGroups].map((groups) => (groups ? scratchCount(groups, groupCount, documents !== null) : 0));
  const documentCount = documents?.size ?? 0;
  runtime.withScratch(documentCount + sizes[0]! + sizes[1]!, "i32", (scratch) => {
    const documentStarts = documents && scratch;
    if (documents) findDocuments(runtime, documents, scratch);
    const side = (groups: Groups | null, rows: Groups | null, at: number): Order => {
      if (rows && !groups) writeIdentity(runtime, rows);
      if (!rows || !groups) return identity;
      const own = { ...scratch, offset: at };
      return sort(runtime, { groups, rows, rule, groupCount, documentStarts, Tk, scratch: own });
    };
    const queries = side(qGroups, out.qRows, documentCount);
    const keys = side(kGroups, out.kRows, documentCount + sizes[0]!);
    writeIntervals(runtime, { rule, out, queries, keys, documentStarts, groupCount });
    writeColumns(runtime, out);
  });
}

/** Numbers of scratch that `sort` takes. */
function scratchCount({ shape }: Groups, groupCount: number, withDocuments: boolean): number {
  const [B, T, H] = shape as [number, number, number];
  const counts = (Math.ceil(T / threads) + 1) * (groupCount + 1);
  return B * H * (counts + (withDocuments ? 2 * T : 0));
}

function findDocuments(runtime: WebgpuRuntime, documents: Groups, documentStarts: Operand): void {
  const [B, Tk] = documents.shape as [number, number];
  const numbers = { B: u32(B), Tk: u32(Tk) };
  const writes = { documentStarts };
  runtime.launch({ file: "staircase_documents", constants }, { groups: B, reads: { documents }, writes, numbers });
}

function writeIdentity(runtime: WebgpuRuntime, rows: Groups): void {
  const numbers = { count: u32(rows.size), T: u32(rows.shape[2]!) };
  const groups = Math.ceil(rows.size / threads);
  runtime.launch({ file: "staircase_identity", constants }, { groups, writes: { rows }, numbers });
}

interface Sort {
  readonly groups: Groups;
  readonly rows: Groups;
  readonly rule: StaircaseRule;
  readonly groupCount: number;
  readonly documentStarts: Operand | null;
  readonly Tk: number;
  readonly scratch: Operand;
}

/** A stable counting sort by group, in segments of `threads` rows; then, with documents, by document. */
function sort(runtime: WebgpuRuntime, { groups, rows, rule, groupCount, documentStarts, Tk, scratch }: Sort): Order {
  const [B, T, H] = groups.shape as [number, number, number];
  const heads = B * H;
  const segments = Math.ceil(T / threads);
  const part = (offset: number): Operand => ({ ...scratch, offset: scratch.offset + offset });
  const starts = part(0);
  const counts = part(heads * (groupCount + 1));
  const rest = heads * (groupCount + 1) * (segments + 1);
  const [sorted, buckets] = [part(rest), part(rest + heads * T)];

  const keepMasks = u32(rule.keepMasks ? 1 : 0);
  const scan = { groupCount: u32(groupCount), segments: u32(segments) };
  const numbers = { ...scan, B: u32(B), T: u32(T), H: u32(H), keepMasks };
  const grid = { groups: heads * segments, numbers };
  const uses = ["staircase_bucket"];
  const rowGroups = groups;
  runtime.launch({ file: "staircase_count", uses, constants }, { ...grid, reads: { rowGroups }, writes: { counts } });
  runtime.launch(
    { file: "staircase_scan", constants },
    { groups: heads, writes: { counts, starts }, numbers: { ...scan, heads: u32(heads) } },
  );
  runtime.launch(
    { file: "staircase_place", uses, constants },
    { ...grid, reads: { rowGroups, counts }, writes: { rows: documentStarts ? sorted : rows } },
  );
  if (!documentStarts) return { rows, starts, buckets: null };
  runtime.launch(
    { file: "staircase_by_document", constants },
    {
      groups: Math.ceil((heads * T) / threads),
      reads: { sorted, starts, documentStarts },
      writes: { rows, buckets },
      numbers: { count: u32(heads * T), T: u32(T), H: u32(H), Tk: u32(Tk), groupCount: u32(groupCount) },
    },
  );
  return { rows, starts, buckets };
}

interface Intervals extends Args {
  readonly queries: Order;
  readonly keys: Order;
  readonly documentStarts: Operand | null;
  readonly groupCount: number;
}

function writeIntervals(
  runtime: WebgpuRuntime,
  { rule, out, queries, keys, documentStarts, groupCount }: Intervals,
): void {
  const { lo, hi } = out;
  const [, H, Tq] = lo.shape as [number, number, number];
  const Tk = out.qLo.shape[2]!;
  // No position is further than Tk before a query's.
  const near = Math.min(rule.near, Tk);
  const far = rule.far >= Tk ? noLimit : rule.far;
  const chunk = rule.chunk > Tk ? 0 : rule.chunk;
  const tables = { qRows: queries.rows, kRows: keys.rows, qStarts: queries.starts, kStarts: keys.starts };
  runtime.launch(
    { file: "staircase_intervals", uses: ["staircase_tables"], constants },
    {
      groups: Math.ceil(lo.size / threads),
      reads: { ...tables, documentStarts, qBuckets: queries.buckets, kBuckets: keys.buckets },
      writes: { lo, hi },
      numbers: {
        ...{ count: u32(lo.size), H: u32(H), Hk: u32(rule.kGroups?.shape[2] ?? 1), Tq: u32(Tq), Tk: u32(Tk) },
        ...{ groupCount: u32(groupCount), near: i32(near), far: i32(far), chunk: i32(chunk) },
      },
    },
  );
}

function writeColumns(runtime: WebgpuRuntime, { lo, hi, qLo, qHi }: Args["out"]): void {
  runtime.launch(
    { file: "staircase_columns", constants },
    {
      groups: Math.ceil(qLo.size / threads),
      reads: { lo, hi },
      writes: { qLo, qHi },
      numbers: { count: u32(qLo.size), Tq: u32(lo.shape[2]!), Tk: u32(qLo.shape[2]!) },
    },
  );
}
