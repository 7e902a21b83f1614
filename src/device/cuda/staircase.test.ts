import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fieldOffsets, hasCompiler, structText } from "../../../test/cStruct.ts";
import { fakeTensor, openFakeCuda, rtx3090 } from "../../../test/fakeCuda.ts";
import type { StaircaseRule } from "../../staircase/staircase.ts";
import { addressOf } from "./kernel_arguments.ts";
import { staircase } from "./staircase.ts";

const size = { B: 2, H: 4, Tq: 600, Tk: 600 };
const all: StaircaseRule = {
  ...{ documents: null, qGroups: null, kGroups: null, groupCount: 16 },
  ...{ near: 0, far: Number.POSITIVE_INFINITY, chunk: Number.POSITIVE_INFINITY },
};

/** Launches what a rule over 2 batch entries, 4 query heads and Hk key heads asks for. */
function build(
  rule: (ints: (...shape: number[]) => ReturnType<typeof fakeTensor<"i32">>) => Partial<StaircaseRule>,
  { Hk = 4, Tq = size.Tq, Tk = size.Tk, cuda = openFakeCuda() } = {},
) {
  const { B, H } = size;
  const ints = (...shape: number[]) => fakeTensor(cuda.runtime, shape, "i32");
  const given = { ...all, ...rule(ints) };
  const out = {
    ...{ qRows: ints(B, H, Tq), kRows: ints(B, Hk, Tk), lo: ints(B, H, Tq), hi: ints(B, H, Tq) },
    ...{ qLo: ints(B, H, Tk), qHi: ints(B, H, Tk) },
  };
  staircase(cuda.runtime, { rule: given, out });
  return { ...cuda, out, given, names: cuda.launches.map(({ entry }) => entry.replace("staircase_", "")) };
}

const source = readFileSync(new URL("staircase.cu", import.meta.url), "utf8");

describe("a staircase's launches", () => {
  test("sort each side by its groups, a block a head", () => {
    const { names, launches } = build((ints) => ({ qGroups: ints(2, 600, 4), kGroups: ints(2, 600, 2) }), { Hk: 2 });
    expect(names).toEqual(["order", "order", "intervals", "columns"]);
    expect(launches.map(({ grid }) => grid)).toEqual([8, 4, 8, 8].map((x) => [x, 1, 1]));
  });

  const bySharedGroups = (rule: Partial<StaircaseRule>) =>
    build((ints) => {
      const groups = ints(2, 600, 4);
      return { qGroups: groups, kGroups: groups, ...rule };
    });

  test("write columns beside intervals where one order serves both and nothing else limits", () => {
    expect(bySharedGroups({ near: 1 }).names).toEqual(["order", "intervals"]);
    for (const rule of [{ near: 2 }, { far: 9 }, { chunk: 4 }]) {
      expect(bySharedGroups(rule).names).toEqual(["order", "intervals", "columns"]);
    }
  });

  test("sort once where both sides have the same groups, and copy the order", () => {
    const { names, driver, out } = bySharedGroups({});
    expect(names).toEqual(["order", "intervals"]);
    const { qRows, kRows } = out;
    expect(driver.calls("cuMemcpyDtoDAsync").map((args) => args.slice(0, 3))).toEqual([
      [addressOf(kRows), addressOf(qRows), 4 * kRows.size],
    ]);
  });

  test("sort twice where groups begin at one address but are cut differently", () => {
    const { names } = build(
      (ints) => {
        const groups = ints(2, 700, 4);
        return { qGroups: groups.slice(1, 0, 500), kGroups: groups.slice(1, 0, 600) };
      },
      { Tq: 500 },
    );
    expect(names).toEqual(["order", "order", "intervals", "columns"]);
  });

  test("number the documents first, and write the identity where a side has no groups", () => {
    const { names } = build((ints) => ({ documents: ints(2, 600), kGroups: ints(2, 600, 4), keepMasks: true }));
    expect(names).toEqual(["documents", "order_documents", "identity", "intervals", "columns"]);
  });

  test("take no part in documents where there are no keys", () => {
    const { names } = build((ints) => ({ documents: ints(2, 0), qGroups: ints(2, 600, 4) }), { Tk: 0 });
    expect(names).toEqual(["order", "intervals"]);
  });

  test.each([
    { T: 65536, staged: 1, facts: "a large" },
    { T: 65537, staged: 0, facts: "a large" },
    { T: 65536, staged: 0, facts: "a small" },
  ])("of $T rows stage groups in $facts shared memory: $staged", ({ T, staged, facts }) => {
    const cuda = openFakeCuda(facts === "a small" ? { facts: rtx3090 } : {});
    const { launches } = build((ints) => ({ qGroups: ints(2, T, 4), groupCount: 256 }), { Tq: T, Tk: T, cuda });
    expect(launches[0]!.sharedBytes).toBe(32 * 257 * 4 + staged * 2 * T);
  });

  test.skipIf(!hasCompiler)("get their structs where a C compiler puts them (needs g++)", () => {
    const { launches, given, out } = build(
      (ints) => ({
        ...{
          documents: ints(2, 900).slice(1, 100, 600),
          qGroups: ints(2, 600, 8).slice(2, 3, 4),
          kGroups: ints(2, 600, 2),
        },
        ...{ near: 2, far: 50, groupCount: 200 },
      }),
      { Hk: 2 },
    );
    const structs = ["DocumentArgs", "OrderArgs", "IntervalArgs"].map((name) => structText(source, name)).join("\n");
    const read = (launch: number, struct: string, wide: string[], narrow: string[] = []) => {
      const at = fieldOffsets(structs, struct, [...wide, ...narrow]);
      const bytes = launches[launch]!.parameters[0]!;
      const number = (path: string) => Number(bytes.getBigInt64(at[path]!, true));
      return Object.fromEntries([
        ...wide.map((path) => [path, number(path)]),
        ...narrow.map((path) => [path, bytes.getInt32(at[path]!, true)]),
      ]);
    };
    const documents = read(0, "DocumentArgs", ["ids", "batch", "numbers"], ["T"]);
    expect(documents).toMatchObject({ ids: addressOf(given.documents!), batch: 900, T: 600 });
    const orderNumbers = ["H", "T", "Tk", "groupCount", "keepMasks", "staged"];
    const orderPlaces = ["groups", "batch", "row", "head", "rows", "starts", "documents", "blocks", "spare"];
    const order = read(1, "OrderArgs", orderPlaces, orderNumbers);
    expect(order).toMatchObject({
      ...{ groups: addressOf(given.qGroups!), batch: 4800, row: 8, head: 1, rows: addressOf(out.qRows) },
      ...{ documents: documents.numbers, H: 4, T: 600, Tk: 600, groupCount: 200, keepMasks: 0, staged: 1 },
    });
    const places = [
      "qRows",
      "kRows",
      "qStarts",
      "kStarts",
      "qBlocks",
      "kBlocks",
      "documents",
      "lo",
      "hi",
      "qLo",
      "qHi",
    ];
    const numbers = ["H", "Hk", "Tq", "Tk", "groupCount", "near", "far", "chunk", "oneOrder"];
    expect(read(3, "IntervalArgs", places, numbers)).toMatchObject({
      ...{ qRows: addressOf(out.qRows), kRows: addressOf(out.kRows), qStarts: order.starts, qBlocks: order.blocks },
      ...{ documents: documents.numbers, lo: addressOf(out.lo), hi: addressOf(out.hi) },
      ...{ qLo: addressOf(out.qLo), qHi: addressOf(out.qHi), H: 4, Hk: 2, Tq: 600, Tk: 600, groupCount: 200 },
      ...{ near: 2, far: 50, chunk: 2 ** 31 - 1, oneOrder: 0 },
    });
    const scratch = [order, read(2, "OrderArgs", orderPlaces)].flatMap((o) => [o.starts, o.blocks, o.spare]);
    expect(new Set([...scratch, documents.numbers]).size).toBe(7);
  });
});
