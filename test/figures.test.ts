import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { drawFigure } from "../src/report/figure.ts";
import { figureSvg } from "../src/report/figureSvg.ts";
import { figureSuffix, readFigures, readTable } from "../src/report/readFigures.ts";
import { redrawTables } from "../src/report/table.ts";

/** Folders of recorded lines. */
const rooms = ["experiments", "bench/results"];

const paths = (await Promise.all(rooms.map((room) => readdir(room, { recursive: true }).then(under(room))))).flat();
const withSuffix = (suffix: string) => paths.filter((path) => path.endsWith(suffix));
const folders = [...new Set(withSuffix(figureSuffix).map((path) => dirname(path)))];

function under(room: string) {
  return (names: string[]) => names.map((name) => join(room, name));
}

describe.each(folders)("figures of %s", (folder) => {
  test("are what the recorded lines make", async () => {
    for (const source of await readFigures(folder)) {
      const committed = await readFile(join(folder, `${source.name}.svg`), "utf8").catch(() => "none");
      const made = figureSvg(await drawFigure(source));
      // Not the bytes themselves in a failure: they say nothing to a reader.
      expect(made === committed, `${source.name}.svg is not what its lines make: scfa report ${folder} --svg`).toBe(
        true,
      );
    }
  });
});

test("every picture there is a figure, made of lines", () => {
  const made = withSuffix(figureSuffix).map((path) => path.replace(figureSuffix, ".svg"));
  expect(withSuffix(".svg").sort()).toEqual(made.sort());
});

describe("the README's numbers", () => {
  test("tables are what the recorded lines make", async () => {
    const readme = await readFile("README.md", "utf8");
    const wrong = "node scripts/tables.mjs makes them anew";
    expect((await redrawTables(readme, readTable)) === readme, wrong).toBe(true);
    // Each has been found by its marks.
    expect(readme.match(/^<!-- table /gm)).toHaveLength(withSuffix(".table.json").length);
  });

  test("what was measured stands in such tables and in figures alone", async () => {
    const readme = await readFile("README.md", "utf8");
    const [numbers] = /^## Numbers\n[\s\S]*?(?=^## )/m.exec(readme)!;
    const words = numbers.replace(/<!-- table[\s\S]*?<!-- end of table -->/g, "").replace(/`[^`]*`/g, "");
    expect(words.match(/^\||\d[\d,.]*( ?(x|ms|%|GiB|MiB|[TG]FLOP\/s)\b|%| times)/gm)).toBeNull();
  });

  test("pictures are figures", async () => {
    const [numbers] = /^## Numbers\n[\s\S]*?(?=^## )/m.exec(await readFile("README.md", "utf8"))!;
    const pictures = [...numbers.matchAll(/!\[[^\]]+\]\(([^)]+\.svg)\)/g)].map(([, path]) => path);
    expect(pictures.length).toBeGreaterThan(1);
    expect(pictures.filter((path) => !paths.includes(path!))).toEqual([]);
  });
});
