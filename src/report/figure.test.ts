import { describe, expect, test } from "vitest";
import { drawFigure, type FigureSource } from "./figure.ts";
import { figureSchema } from "./figureSpec.ts";
import { figureSvg } from "./figureSvg.ts";
import { renderReport } from "./page.ts";
import { spread } from "./panel.ts";
import type { Line } from "./select.ts";

const lines = [
  { who: "ours", T: 1024, ms: 1, machine: "a machine", date: "2026-01-02T03:04:05Z", commit: "abc" },
  { who: "ours", T: 2048, ms: 2, machine: "a machine", date: "2026-01-02T03:04:05Z", commit: "abc" },
  { who: "theirs", T: 1024, ms: 3, machine: "a machine", date: "2026-01-03T03:04:05Z", commit: "abc" },
  { who: "theirs", T: 2048, ms: 9, machine: "a machine", date: "2026-01-03T03:04:05Z", commit: "abc" },
];

const spec = {
  title: "How long it takes",
  says: "Whole operation.",
  lines: ["results.jsonl"],
  series: {
    field: "who",
    kinds: [
      { is: "ours", label: "ours", color: "run1" },
      { is: "theirs", label: "theirs", color: "run2", dashed: true },
    ],
  },
  panels: [
    {
      title: "Time",
      x: { field: "T", title: "tokens", scale: "log2", numbers: "kibi" },
      y: { field: "ms", title: "ms", scale: "log" },
    },
  ],
};

function source(more: object = {}, given: readonly Line[] = lines): FigureSource {
  return { name: "time", file: "time.figure.json", spec: figureSchema.parse({ ...spec, ...more }), lines: given };
}

/** Heights of a figure's marks, in the order of series and points. */
async function marks(more: object, given = lines): Promise<number[]> {
  const svg = figureSvg(await drawFigure(source(more, given)));
  return [...svg.matchAll(/<path transform="translate\([\d.]+,([\d.]+)\)" d="M[^"]*A/g)].map(([, y]) => Number(y));
}

describe("a figure", () => {
  test("is the same bytes for the same lines, and in any order of them", async () => {
    const first = figureSvg(await drawFigure(source()));
    expect(figureSvg(await drawFigure(source()))).toBe(first);
    expect(figureSvg(await drawFigure(source({}, [...lines].reverse())))).toBe(first);
  });

  test("shows each line where its number belongs", async () => {
    // From 1 to 10 ms in 210 pixels.
    const expected = [1, 2, 3, 9].map((ms) => 210 * (1 - Math.log10(ms)));
    const found = await marks({});
    expect(found).toHaveLength(4);
    found.forEach((y, i) => void expect(y).toBeCloseTo(expected[i]!, 1));
  });

  test("computes by the specification's transforms, and chooses by a panel's condition", async () => {
    const twice = { type: "formula", expr: "datum.ms * 2", as: "double" };
    const panel = { ...spec.panels[0], where: "datum.T > 1024", y: { field: "double", title: "ms", domain: [0, 20] } };
    const found = await marks({ transform: [twice], panels: [panel] });
    expect(found).toEqual([168, 21]);
  });

  test.each([
    [{ series: { ...spec.series, kinds: spec.series.kinds.slice(1) } }, /in panel "Time": no series is who "ours"/],
    [{ panels: [{ ...spec.panels[0], y: { field: "s", title: "s" } }] }, /s must be a number, got undefined/],
    [{ panels: [{ ...spec.panels[0], where: "datum.T > 9999" }] }, /there must be a line to draw, found none/],
    [{ transform: [{ type: "formula", expr: "datum.(", as: "x" }] }, /time\.figure\.json: at transform or where/],
    [{ panels: [{ ...spec.panels[0], x: { ...spec.panels[0]!.x, field: "zero" } }] }, /zero must be above 0/],
    [{ panels: [{ ...spec.panels[0], y: { field: "ms", title: "ms", domain: [0, 5] } }] }, /ms must be from 0 to 5/],
  ])("does not leave out in silence what it cannot draw: %#", async (more, message) => {
    const given = lines.map((line) => ({ ...line, zero: 0 }));
    await expect(drawFigure(source(more, given))).rejects.toThrow(message);
  });

  test("says where its lines are from", async () => {
    const { origin } = await drawFigure(source());
    expect(origin).toEqual([
      { term: "machine", values: ["a machine"] },
      { term: "date", values: ["2026-01-02", "2026-01-03"] },
      { term: "commit", values: ["abc"] },
    ]);
  });

  test("names the GPU where there was one, else the machine", async () => {
    const withDevice = (device: string) =>
      drawFigure(
        source(
          {},
          lines.map((line) => ({ ...line, device })),
        ),
      );
    expect(figureSvg(await withDevice("cuda (A GPU, 80 GiB, driver 1)"))).toContain(">cuda (A GPU) · 2026-01-02 ·");
    expect(figureSvg(await withDevice("cpu (2 threads, SIMD)"))).toContain(">a machine · 2026-01-02 ·");
  });

  test("nothing of lines or words becomes markup, in its file or in a page", async () => {
    const evil = `</style></svg><script>alert(1)</script><img src=x onerror="alert('2')">&`;
    const kinds = [{ is: evil, label: evil, color: "run1" }];
    const panels = [
      { ...spec.panels[0], title: evil, x: { field: "T", title: evil }, y: { field: "ms", title: evil } },
    ];
    const more = { title: evil, says: evil, series: { field: "who", kinds }, panels };
    const figure = await drawFigure(
      source(more, [{ who: evil, T: 1, ms: 1, machine: evil, date: evil, command: evil }]),
    );
    for (const text of [figureSvg(figure), await renderReport([], { figures: [figure] })]) {
      const tags = text.match(/<[^>]*>/g)!.join("");
      expect(/<(script|img)|onerror="/.exec(tags)).toBeNull();
      expect(text).toContain("&lt;script&gt;");
    }
  });

  test("takes its colours from variables, so that one drawing serves light and dark", async () => {
    const [panel] = (await drawFigure(source())).panels;
    expect(/(?:fill|stroke)="(?:#|rgb|black|white)[^"]*/.exec(panel!.svg)).toBeNull();
    expect(figureSvg(await drawFigure(source()))).toContain("@media (prefers-color-scheme: dark)");
  });
});

describe("names at the ends of lines", () => {
  test("stay where there is room", () => {
    expect(spread([10, 50, 90], 15, [0, 100])).toEqual([10, 50, 90]);
  });

  test("move apart evenly, and within the plot", () => {
    expect(spread([50, 50], 10, [0, 100])).toEqual([45, 55]);
    expect(spread([0, 1, 2], 10, [0, 100])).toEqual([0, 10, 20]);
    expect(spread([99, 100, 100], 10, [0, 100])).toEqual([80, 90, 100]);
  });
});
