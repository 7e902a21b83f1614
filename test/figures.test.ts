import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { drawFigure } from "../src/report/figure.ts";
import { figureSvg } from "../src/report/figureSvg.ts";
import { figureSuffix, readFigures } from "../src/report/readFigures.ts";

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
