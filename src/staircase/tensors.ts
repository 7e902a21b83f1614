import type { Device } from "../device/device.ts";
import type { Tensor } from "../tensor.ts";
import type { RuleSize } from "./build.ts";
import { columnsOf } from "./columns.ts";
import type { HostStaircase, Staircase, StaircaseRule } from "./staircase.ts";

/** Whether a rule reads tensors, so that its staircase must be built again when they change. */
export function isDataDependent({ documents, qGroups, kGroups }: StaircaseRule): boolean {
  return documents !== null || qGroups !== null || kGroups !== null;
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
  return {
    qRows: rule.qGroups ? device.empty([B, H, Tq], "i32") : null,
    kRows: rule.kGroups ? device.empty([B, size.Hk, Tk], "i32") : null,
    lo: device.empty([B, H, Tq], "i32"),
    hi: device.empty([B, H, Tq], "i32"),
    qLo: device.empty([B, H, Tk], "i32"),
    qHi: device.empty([B, H, Tk], "i32"),
  };
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
  const upload = (arrays: readonly Int32Array[], heads: number, T: number): Tensor<"i32"> => {
    const data = new Int32Array(B * heads * T);
    for (const [index, array] of arrays.entries()) data.set(array, index * T);
    return device.tensor(data, [B, heads, T]);
  };
  return {
    qRows: staircases.every(({ qRows }) => isIdentity(qRows))
      ? null
      : upload(
          staircases.map((s) => s.qRows),
          H,
          Tq,
        ),
    kRows: perKeyHead.every(({ kRows }) => isIdentity(kRows))
      ? null
      : upload(
          perKeyHead.map((s) => s.kRows),
          Hk,
          Tk,
        ),
    lo: upload(
      staircases.map((s) => s.lo),
      H,
      Tq,
    ),
    hi: upload(
      staircases.map((s) => s.hi),
      H,
      Tq,
    ),
    qLo: upload(
      columns.map((c) => c.qLo),
      H,
      Tk,
    ),
    qHi: upload(
      columns.map((c) => c.qHi),
      H,
      Tk,
    ),
  };
}

/** Gives a staircase's device memory back. */
export function disposeStaircase({ qRows, kRows, lo, hi, qLo, qHi }: Staircase): void {
  for (const tensor of [qRows, kRows, lo, hi, qLo, qHi]) tensor?.dispose();
}

function isIdentity(rows: Int32Array): boolean {
  return rows.every((row, place) => row === place);
}
