import { UnsupportedError } from "../../errors.ts";
import type { StaircaseRule } from "../../staircase/staircase.ts";
import type { Tensor } from "../../tensor.ts";
import type { Ops } from "../ops.ts";
import { addressOf, type Field, i32, i64, pack, pointer } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

const file = "staircase";
const noLimit = 2 ** 31 - 1;
const threads = { sort: 1024, place: 256 } as const;
const sortWarps = threads.sort / 32;
/** Places of a block of the intervals and of the columns. */
const blockPlaces = 4 * threads.place;
/** Buckets of a pass by document: 8 bits of its number. */
const digits = 256;
/** A row and its group share 32 bits while documents are sorted. */
const mostPositionsWithDocuments = 2 ** 24;
/** Beyond, what a head is sorted by does not fit into the shared memory of any GPU. */
const mostStagedRows = 2 ** 16;
/** Shared memory of the sort that is not dynamic, rounded up. */
const staticSharedBytes = 2048;

type Args = Parameters<Ops["staircase"]>[0];
type Groups = Tensor<"i32">;

/** See `Ops.staircase`. */
export function staircase(runtime: CudaRuntime, { rule, out }: Args): void {
  const [B, H, Tq] = out.lo.shape as [number, number, number];
  const Tk = out.qLo.shape[2]!;
  const { qGroups, kGroups } = rule;
  const documents = Tk > 0 ? rule.documents : null;
  if (documents && Math.max(Tq, Tk) > mostPositionsWithDocuments) {
    const most = `documents go with at most ${mostPositionsWithDocuments} positions`;
    throw new UnsupportedError("staircase", most, `Tq=${Tq}, Tk=${Tk}`);
  }
  const scratch = new Scratch();
  const numbers = documents && scratch.add(B * Tk);
  // One order serves both sides where they have the same groups.
  const shared = qGroups !== null && kGroups !== null && isSame(qGroups, kGroups);
  const groupCount = rule.keepMasks ? 1 : rule.groupCount;
  const side = (groups: Groups | null, rows: Groups | null) =>
    groups && rows && new OrderedSide(scratch, { groups, rows, groupCount, withDocuments: documents !== null });
  const queries = side(qGroups, out.qRows);
  const keys = shared ? queries : side(kGroups, out.kRows);

  runtime.withScratch(scratch.bytes, (base) => {
    const numbersAt = numbers === null ? 0 : base + numbers;
    if (documents) numberDocuments(runtime, documents, numbersAt);
    for (const each of new Set([queries, keys])) each?.sort(runtime, rule, { base, numbersAt, Tk });
    if (shared && out.kRows && out.qRows) copyRows(runtime, out.qRows, out.kRows);
    if (!qGroups && out.qRows) writeIdentity(runtime, out.qRows);
    if (!kGroups && out.kRows) writeIdentity(runtime, out.kRows);

    const tables = [queries?.rows, keys?.rows].map((rows) => pointer(rows ?? null));
    const starts = [queries?.starts, keys?.starts].map((at) => pointer(at === undefined ? 0 : base + at));
    const blocks = [queries?.blocks, keys?.blocks].map((at) => pointer(documents && at !== undefined ? base + at : 0));
    // No position is further than Tk before a query's.
    const near = Math.min(rule.near, Tk);
    const far = rule.far >= Tk ? noLimit : rule.far;
    const chunk = rule.chunk > Tk ? noLimit : rule.chunk;
    const oneOrder = (shared || (!queries && !keys)) && Tq === Tk && near <= 1;
    const withColumns = oneOrder && !documents && far === noLimit && chunk === noLimit;
    const parameters = [
      pack([
        ...[...tables, ...starts, ...blocks, pointer(numbersAt)],
        ...[out.lo, out.hi, out.qLo, out.qHi].map(pointer),
        ...[H, kGroups?.shape[2] ?? 1, Tq, Tk, groupCount, near, far, chunk, oneOrder ? 1 : 0, withColumns ? 1 : 0].map(
          i32,
        ),
      ]),
    ];
    const sharedBytes = 2 * 4 * (groupCount + 1);
    const launch = (entry: string, T: number) => {
      const grid = [Math.ceil(T / blockPlaces) * H * B] as const;
      runtime.launch({ file, entry }, { grid, threads: threads.place, sharedBytes, parameters });
    };
    launch("staircase_intervals", Tq);
    if (!withColumns) launch("staircase_columns", Tk);
  });
}

/** Places in one block of scratch, as offsets. */
class Scratch {
  bytes = 0;

  /** @param count 32-bit numbers */
  add(count: number): number {
    const at = this.bytes;
    this.bytes += Math.ceil((4 * count) / 256) * 256;
    return at;
  }
}

/** The queries, or the keys, of a rule that gives them groups. */
class OrderedSide {
  readonly groups: Groups;
  readonly rows: Groups;
  /** Offsets in scratch; blocks and spare with documents. */
  readonly starts: number;
  readonly blocks: number = 0;
  readonly #spare: number = 0;
  readonly #groupCount: number;

  constructor(scratch: Scratch, of: { groups: Groups; rows: Groups; groupCount: number; withDocuments: boolean }) {
    this.groups = of.groups;
    this.rows = of.rows;
    this.#groupCount = of.groupCount;
    const [B, T, H] = this.groups.shape as [number, number, number];
    this.starts = scratch.add(B * H * (of.groupCount + 1));
    if (!of.withDocuments) return;
    this.blocks = scratch.add(B * H * T);
    this.#spare = scratch.add(B * H * T);
  }

  sort(
    runtime: CudaRuntime,
    { keepMasks }: StaircaseRule,
    { base, numbersAt, Tk }: { base: number; numbersAt: number; Tk: number },
  ): void {
    const { groups, rows, starts } = this;
    const [B, T, H] = groups.shape as [number, number, number];
    const buckets = Math.max(this.#groupCount + 1, numbersAt ? digits : 0);
    const countBytes = sortWarps * buckets * 4;
    const room = runtime.facts.sharedBytesPerBlock - staticSharedBytes;
    const staged = T <= mostStagedRows && countBytes + 2 * T <= room;
    const fields: Field[] = [
      ...[pointer(groups), ...groups.strides.map(i64)],
      ...[pointer(rows), pointer(base + starts), pointer(numbersAt)],
      ...(numbersAt ? [pointer(base + this.blocks), pointer(base + this.#spare)] : [pointer(0), pointer(0)]),
      ...[H, T, Tk, this.#groupCount, keepMasks ? 1 : 0, staged ? 1 : 0].map(i32),
    ];
    runtime.launch(
      { file, entry: numbersAt ? "staircase_order_documents" : "staircase_order" },
      {
        grid: [H * B],
        threads: threads.sort,
        sharedBytes: countBytes + (staged ? 2 * T : 0),
        parameters: [pack(fields)],
      },
    );
  }
}

function numberDocuments(runtime: CudaRuntime, documents: Tensor<"i32">, numbersAt: number): void {
  const [B, Tk] = documents.shape as [number, number];
  const parameters = [pack([pointer(documents), i64(documents.strides[0]!), pointer(numbersAt), i32(Tk)])];
  runtime.launch({ file, entry: "staircase_documents" }, { grid: [B], threads: threads.sort, parameters });
}

function writeIdentity(runtime: CudaRuntime, rows: Tensor<"i32">): void {
  const parameters = [pack([pointer(rows), i64(rows.size), i32(rows.shape[2]!)])];
  const grid = [Math.ceil(rows.size / threads.place)] as const;
  runtime.launch({ file, entry: "staircase_identity" }, { grid, threads: threads.place, parameters });
}

function copyRows(runtime: CudaRuntime, from: Tensor<"i32">, to: Tensor<"i32">): void {
  if (from.size === 0 || addressOf(from) === addressOf(to)) return;
  runtime.call("cuMemcpyDtoDAsync", addressOf(to), addressOf(from), 4 * from.size, runtime.stream);
}

/** Whether two tensors are one look at the same memory. */
function isSame(x: Tensor<"i32">, y: Tensor<"i32">): boolean {
  return (
    addressOf(x) === addressOf(y) && [0, 1, 2].every((n) => x.shape[n] === y.shape[n] && x.strides[n] === y.strides[n])
  );
}
