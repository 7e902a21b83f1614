import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { threefry2x32 } from "../rng.ts";
import { openDataset } from "./loader.ts";

const folder = mkdtempSync(join(tmpdir(), "scfa-kill-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeAll(async () => {
  // A program of its own, since only a process of its own can be killed.
  const entry = join(folder, "entry.js");
  const prepare = JSON.stringify(join(import.meta.dirname, "prepare.ts"));
  const [data, text] = [join(folder, "data"), join(folder, "a.txt")].map((path) => JSON.stringify(path));
  writeFileSync(
    entry,
    `import { prepare } from ${prepare};
    console.log("ready");
    await prepare({ files: [${text}], out: ${data}, tokenizer: "bytes", overwrite: true });
    console.log("done");`,
  );
  await build({
    configFile: false,
    logLevel: "error",
    ssr: { noExternal: true },
    build: { ssr: entry, outDir: join(folder, "dist"), rollupOptions: { output: { entryFileNames: "entry.mjs" } } },
  });
});

/** Runs the program; kills it `afterMs` after it starts to work, or lets it end. */
function run(afterMs = Number.POSITIVE_INFINITY): Promise<boolean> {
  const child = spawn(process.execPath, [join(folder, "dist", "entry.mjs")], { stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((resolve) => {
    let isDone = false;
    child.stdout.on("data", (text: Buffer) => {
      if (text.includes("done")) isDone = true;
      else if (Number.isFinite(afterMs)) setTimeout(() => child.kill("SIGKILL"), afterMs);
    });
    child.on("close", () => resolve(isDone));
  });
}

test("kill -9 at any moment leaves the earlier dataset or the new one, whole, and the next run sweeps up", async () => {
  const versions = ["a".repeat(4 << 20), "b".repeat(3 << 20)];
  writeFileSync(join(folder, "a.txt"), versions[0]!);
  expect(await run()).toBe(true);
  const sizes = versions.map((text) => text.length + 2);
  let [killed, finished] = [0, 0];
  for (let i = 0; i < 16; i++) {
    writeFileSync(join(folder, "a.txt"), versions[(i + 1) % 2]!);
    if (await run(threefry2x32([1, 2], [i, 0])[0]! % 60)) finished++;
    else killed++;
    // Between the two renames the earlier folder waits under a hidden name; whatever stands under its own name is whole.
    if (!readdirSync(folder).includes("data")) continue;
    const dataset = await openDataset(join(folder, "data"), { verify: true });
    expect(sizes).toContain(dataset.train.count + dataset.validation.count);
    await dataset.close();
  }
  expect(killed, `${finished} runs finished`).toBeGreaterThan(3);
  expect(await run()).toBe(true);
  expect(readdirSync(folder).sort()).toEqual(["a.txt", "data", "dist", "entry.js"]);
});
