import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

// The program as it is installed: built, in a process of its own. `npm test` builds first.
const program = resolve("dist/cli/main.js");

describe.skipIf(!existsSync(program))("the built command", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "scfa-program-"));
    await writeFile(join(folder, "text.txt"), "Many years later, as he faced the firing squad. ".repeat(200));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** Runs it to its end. */
  async function scfa(...argv: string[]) {
    try {
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, ...argv], { cwd: folder });
      return { code: 0, stdout, stderr };
    } catch (error) {
      return error as { code: number; stdout: string; stderr: string };
    }
  }

  test("exit codes: 0 done, 2 for what cannot be right", async () => {
    expect(await scfa("--version")).toMatchObject({ code: 0, stderr: "" });
    expect(await scfa("fly")).toMatchObject({
      code: 2,
      stdout: "",
      stderr: 'scfa: there is no command "fly". See scfa --help.\n',
    });
  });

  test("help loads no library: it must answer at once", async () => {
    const trace = join(folder, "trace.mjs");
    // A loader hook that names every module from node_modules.
    await writeFile(
      trace,
      `import { register } from "node:module";
      register("data:text/javascript," + encodeURIComponent(\`
        import { writeSync } from "node:fs";
        export async function resolve(name, context, next) {
          const found = await next(name, context);
          if (found.url.includes("node_modules")) writeSync(2, found.url + "\\\\n");
          return found;
        }\`));`,
    );
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ["--import", trace, program, "--help"]);
    expect(stdout).toContain("Usage: scfa <command>");
    expect(stderr).toBe("");
  });

  test("a reader that goes away is no failure", async () => {
    const shell = `${process.execPath} ${program} train --help | head -1; exit \${PIPESTATUS[0]}`;
    const out = execFileSync("bash", ["-c", shell], { encoding: "utf8", cwd: folder });
    expect(out).toContain("Train a language model");
  });

  test("Ctrl-C saves and stops, and the resumed run has the losses of one that never stopped", async () => {
    const flags = ["--data", "text.txt", "--context", "64", "--layers", "1", "--heads", "2", "--width", "32"];
    const steps = ["--steps", "60", "--threads", "1", "--attention", "hash(4)", "--seed", "3"];
    expect(await scfa("train", "--out", "whole", ...flags, ...steps)).toMatchObject({ code: 0 });

    const child = spawn(process.execPath, [program, "train", "--out", "cut", ...flags, ...steps], { cwd: folder });
    let heard = "";
    child.stderr.on("data", (data) => {
      const hadBegun = /step 1\/60/.test(heard);
      heard += data;
      // The first line of progress: training has begun.
      if (!hadBegun && /step 1\/60/.test(heard)) child.kill("SIGINT");
    });
    const code = await new Promise((done) => child.on("exit", done));
    expect(heard).toMatch(/Stopping after this step, with a checkpoint/);
    expect(heard).toMatch(/stopped after step \d+\. Go on with: scfa train --out cut --resume/);
    expect(code).toBe(130);
    const early = (await metrics("cut")).length;
    expect(early).toBeLessThan(60);

    expect(await scfa("train", "--out", "cut", "--resume", "--threads", "1")).toMatchObject({ code: 0 });
    expect(await losses("cut")).toEqual(await losses("whole"));
  });

  async function metrics(run: string): Promise<{ loss: number }[]> {
    const lines = (await readFile(join(folder, run, "metrics.jsonl"), "utf8")).trim().split("\n");
    return lines.map((line) => JSON.parse(line));
  }

  async function losses(run: string): Promise<number[]> {
    return (await metrics(run)).map(({ loss }) => loss);
  }
});
