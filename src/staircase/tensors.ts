import type { Device } from "../device/device.ts";
import { contiguousStrides, type Tensor } from "../tensor.ts";
import type { RuleSize } from "./build.ts";
import { columnsOf } from "./columns.ts";
import type { HostStaircase, Staircase, StaircaseRule } from "./staircase.ts";

/** Whether a rule reads tensors, so that its staircase must be built again when they change. */
export function isDataDependent({ documents, qGroups, kGroups }: StaircaseRule): boolean {
  return documents !== null || qGroups !== null || kGroups !== null;
}

/** Elements that a table's first stands at a multiple of: 256 bytes, as memory of its own would. */
const alignment = 64;

type TableName = "qRows" | "kRows" | "lo" | "hi" | "qLo" | "qHi";

/**
 * Tables as views of one tensor: a device that can bind few buffers at once binds one for all.
 * @param shapes of each table; null where there is none
 */
function asViews(
  shapes: Readonly<Record<TableName, readonly number[] | null>>,
  make: (offsets: ReadonlyMap<TableName, number>, length: number) => Tensor<"i32">,
): Staircase {
  const offsets = new Map<TableName, number>();
  let length = 0;
  for (const [name, shape] of Object.entries(shapes) as [TableName, readonly number[] | null][]) {
    if (!shape) continue;
    offsets.set(name, length);
    length += Math.ceil(shape.reduce((n, size) => n * size, 1) / alignment) * alignment;
  }
  const memory = make(offsets, length);
  const view = (name: TableName) => {
    const shape = shapes[name];
    return shape && memory.view(shape, { strides: contiguousStrides(shape), offset: offsets.get(name)! });
  };
  const [qRows, kRows, lo, hi, qLo, qHi] = (["qRows", "kRows", "lo", "hi", "qLo", "qHi"] as const).map(view);
  return { qRows: qRows!, kRows: kRows!, lo: lo!, hi: hi!, qLo: qLo!, qHi: qHi!, memory };
}

/**
 * Device memory for the staircase of a rule, contents undefined: for `Ops.staircase` to fill. Leading dimensions are 1
 * where the rule's data are the same for all; qRows and kRows are null where rows are visited in their own order.
 */
export function allocateStaircase(device: Device, rule: StaircaseRule, size: RuleSize): Staircase {
  const { Tq, Tk } = size;
  const B = isDataDependent(rule) ? size.B : 1;
  const grouped = rule.qGroups !== null || rule.kGroups !== null;
  const H = grouped ? size.H : 1;
  const [byRow, byColumn] = [
    [B, H, Tq],
    [B, H, Tk],
  ];
  const shapes = {
    qRows: rule.qGroups ? byRow : null,
    kRows: rule.kGroups ? [B, size.Hk, Tk] : null,
    ...{ lo: byRow, hi: byRow, qLo: byColumn, qHi: byColumn },
  };
  return asViews(shapes, (_, length) => device.empty([length], "i32"));
}

/**
 * Staircases made on the host, on a device.
 * @param staircases one for all, one for each query head, or one for each (b, h), b-major; complete (see
 * `checkStaircase`), and the same kRows for query heads that share a key head
 */
export function uploadStaircases(device: Device, staircases: readonly HostStaircase[], size: RuleSize): Staircase {
  const { Tq, Tk } = size;
  const H = staircases.length === 1 ? 1 : size.H;
  const Hk = H === 1 ? 1 : size.Hk;
  const B = staircases.length / H;
  const perKeyHead = staircases.filter((_, index) => (index % H) % (H / Hk) === 0);
  const columns = staircases.map((staircase) => columnsOf(staircase, Tk));
  const tables: Record<TableName, readonly Int32Array[] | null> = {
    qRows: staircases.every(({ qRows }) => isIdentity(qRows)) ? null : staircases.map(({ qRows }) => qRows),
    kRows: perKeyHead.every(({ kRows }) => isIdentity(kRows)) ? null : perKeyHead.map(({ kRows }) => kRows),
    lo: staircases.map(({ lo }) => lo),
    hi: staircases.map(({ hi }) => hi),
    qLo: columns.map(({ qLo }) => qLo),
    qHi: columns.map(({ qHi }) => qHi),
  };
  const [byRow, byColumn] = [
    [B, H, Tq],
    [B, H, Tk],
  ];
  const shapes = {
    qRows: tables.qRows && byRow,
    kRows: tables.kRows && [B, Hk, Tk],
    ...{ lo: byRow, hi: byRow, qLo: byColumn, qHi: byColumn },
  };
  return asViews(shapes, (offsets, length) => {
    const data = new Int32Array(length);
    for (const [name, offset] of offsets) {
      for (const [index, array] of tables[name]!.entries()) data.set(array, offset + index * array.length);
    }
    return device.tensor(data, [length]);
  });
}

/** Gives a staircase's device memory back. */
export function disposeStaircase({ memory, qRows, kRows, lo, hi, qLo, qHi }: Staircase): void {
  for (const tensor of [memory, qRows, kRows, lo, hi, qLo, qHi]) tensor?.dispose();
}

function isIdentity(rows: Int32Array): boolean {
  return rows.every((row, place) => row === place);
}
