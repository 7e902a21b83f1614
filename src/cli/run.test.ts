import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { scfa } from "../../test/inProcess.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "scfa-cli-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const commands = [
  "demo",
  "info",
  "selftest",
  "prepare",
  "train",
  "eval",
  "sample",
  "report",
  "bench",
  "export",
  "import",
];

describe("help", () => {
  test("without a command lists them all", async () => {
    const { code, out } = await scfa();
    expect(code).toBe(0);
    for (const name of commands) expect(out).toMatch(new RegExp(`^  ${name} `, "m"));
    expect((await scfa("--help")).out).toBe(out);
    expect((await scfa("help")).out).toBe(out);
  });

  test.each(commands)("%s explains itself, with an example, in lines that fit", async (name) => {
    const { code, out, err } = await scfa(name, "--help");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toContain(`Usage: scfa ${name}`);
    expect(out).toMatch(new RegExp(`Examples\n {2}scfa ${name}`));
    expect(Math.max(...out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(112);
    expect((await scfa("help", name)).out).toBe(out);
  });

  test("--version is the package's", async () => {
    const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    expect((await scfa("--version")).out).toBe(`${version}\n`);
  });
});

describe("what cannot be right gives one sentence and exit code 2", () => {
  test.each([
    [["trian"], 'there is no command "trian". Did you mean scfa train?'],
    [["fly"], 'there is no command "fly". See scfa --help.'],
    [["__proto__"], 'there is no command "__proto__". See scfa --help.'],
    [["info", "--jsno"], "scfa info has no flag --jsno. Did you mean --json?"],
    [["info", "-x"], "scfa info has no flag -x. See scfa info --help."],
    [["info", "more"], 'scfa info takes no arguments, got "more". See scfa info --help.'],
    [["info", "--json=yes"], '--json takes no value, got "yes".'],
    [["report"], "scfa report needs <run or experiment...>. See scfa report --help."],
    [["selftest", "--threads", "0"], '--threads takes a whole number from 1 to 1024, got "0".'],
    [["selftest", "--threads", "two"], '--threads takes a whole number from 1 to 1024, got "two".'],
    [["selftest", "--threads"], "--threads needs a value: --threads <count>."],
    [
      ["selftest", "--threads", "--json"],
      '--threads needs a value, got the flag "--json". If that is the value: --threads=--json',
    ],
    [["selftest", "--threads", "1", "--threads", "2"], "--threads is given twice. Give it once."],
    [["selftest", "--device", "tpu"], '--device takes one of auto, cuda, webgpu, cpu, got "tpu".'],
    [["selftest", "--tier", "f16"], '--tier takes one of f32, subgroups, matrices, got "f16".'],
    [
      ["sample", "nowhere"],
      "nowhere/config.json: open: no such file or folder (ENOENT). Check the spelling of the path.",
    ],
    [
      ["report", "nowhere"],
      "nowhere/config.json: open: no such file or folder (ENOENT). Check the spelling of the path.",
    ],
    [["train"], "scfa train needs a folder for the run: --out <folder>."],
    [["train", "--out", "x"], "scfa train needs something to learn from: --data <path>."],
    [["train", "--out", "x", "--data", "y", "--lr", "fast"], '--lr takes a number, above 0, got "fast".'],
    [
      ["train", "--out", "x", "--resume", "--lr", "1"],
      /^scfa: a resumed run keeps the configuration it was begun with/,
    ],
    [
      ["train", "--out", "x", "--data", "y", "--attention", "hash(3)"],
      /number of buckets is even, from 2 to 256, got "3\)"/,
    ],
    [["bench", "lunch"], 'scfa bench times attention or train, got "lunch".'],
    [
      ["bench", "train", "--preset", "demo", "--heads", "2"],
      "--preset sets the model's size, got --heads beside it. Leave one out.",
    ],
    [
      ["bench", "train", "--lengths", "1k,3k", "--tokens", "4k"],
      "--tokens is a multiple of every length, got 4096 for sequences of 3072.",
    ],
    [["bench", "attention", "--lengths", "8q"], '--lengths takes a whole number from 1 to 1048576, got "8q".'],
  ] as [string[], string | RegExp][])("%j", async (argv, sentence) => {
    const { code, out, err } = await scfa(...argv);
    if (typeof sentence === "string") expect(err).toBe(`scfa: ${sentence}\n`);
    else expect(err).toMatch(sentence);
    expect(err.trim().split("\n")).toHaveLength(1);
    expect({ code, out }).toEqual({ code: 2, out: "" });
  });

  test("--device cuda runs, or says in one line what it lacks", async () => {
    const { code, out, err } = await scfa("selftest", "--device", "cuda", "--filter", "embed: adds token");
    if (code === 0) expect(out).toContain("1 of 1 cases pass on cuda (");
    else {
      expect({ code, out }).toEqual({ code: 2, out: "" });
      expect(err).toMatch(/^scfa: openDevice: .+, got .+\n$/);
    }
  });

  test("nothing is written for a configuration that is wrong", async () => {
    await writeFile(join(folder, "text.txt"), "All this happened, more or less. ".repeat(100));
    const out = join(folder, "never");
    const { code } = await scfa("train", "--data", join(folder, "text.txt"), "--out", out, "--width", "50");
    expect(code).toBe(2);
    expect(await readdir(folder)).toEqual(["text.txt"]);
  });

  test("--debug shows the stack", async () => {
    const { code, err } = await scfa("sample", "nowhere", "--debug");
    expect(code).toBe(2);
    expect(err).toMatch(/DataError: nowhere.*\n\s+at /);
    expect(err).toContain("Caused by: Error: ENOENT");
  });
});

describe("info", () => {
  test("names the machine and every kind of device", async () => {
    const { code, out } = await scfa("info");
    expect(code).toBe(0);
    for (const word of ["machine", "cuda", "webgpu", "cpu "]) expect(out).toContain(word);
  });

  test("--json is one object", async () => {
    const facts = JSON.parse((await scfa("info", "--json")).out);
    expect(facts.devices.map(({ name }: { name: string }) => name)).toEqual(["cuda", "webgpu", "cpu"]);
    expect(facts.machine.cores).toBeGreaterThan(0);
  });
});

describe("prepare and report", () => {
  test("prepare makes a folder of tokens and says what is in it", async () => {
    const text = join(folder, "text.txt");
    await writeFile(text, "All this happened, more or less. ".repeat(100));
    const out = join(folder, "tokens");
    const first = await scfa("prepare", text, "--out", out);
    expect(first.code).toBe(0);
    expect(first.out).toMatch(/tokens: 2,97\d tokens to train on, 33\d to validate, from 1 file \(3\.2 KiB\)/);
    const again = await scfa("prepare", text, "--out", out);
    expect(again.code).toBe(2);
    expect((await scfa("prepare", text, "--out", out, "--overwrite")).code).toBe(0);
  });

  test("report writes a page beside the run", async () => {
    const run = join(folder, "run");
    const { mkdir } = await import("node:fs/promises");
    await mkdir(run);
    await writeFile(join(run, "config.json"), "{}");
    await writeFile(join(run, "metrics.jsonl"), '{"step":1,"tokens":8,"loss":5}\n{"step":2,"tok');
    const { code, out, err } = await scfa("report", run);
    expect(code).toBe(0);
    expect(out).toBe(`${join(run, "report.html")}\n`);
    expect(err).toContain("left out line 2");
    expect((await readFile(join(run, "report.html"), "utf8")).startsWith("<!doctype html>")).toBe(true);
  });

  test("report draws an experiment's figures, of its own lines or of others", async () => {
    const { mkdir } = await import("node:fs/promises");
    const [experiment, mine] = [join(folder, "experiment"), join(folder, "mine")];
    for (const made of [experiment, mine]) await mkdir(made);
    const axis = (field: string) => ({ field, title: field });
    const spec = {
      ...{ title: "How it grows", says: "It grows.", lines: ["results.jsonl"] },
      series: { field: "who", kinds: [{ is: "it", label: "it", color: "run0" }] },
      panels: [{ title: "Size", x: axis("day"), y: axis("cm") }],
    };
    await writeFile(join(experiment, "growth.figure.json"), JSON.stringify(spec));
    const lines = (cm: number) => `{"who":"it","day":1,"cm":1}\n{"who":"it","day":2,"cm":${cm}}\n`;
    await writeFile(join(experiment, "results.jsonl"), lines(2));
    await writeFile(join(mine, "other.jsonl"), lines(40));
    const { code, out } = await scfa("report", experiment, "--svg");
    expect(code).toBe(0);
    expect(out).toBe(`${join(experiment, "growth.svg")}\n${join(experiment, "report.html")}\n`);
    expect(await readFile(join(experiment, "report.html"), "utf8")).toContain("How it grows");
    expect((await scfa("report", join(mine, "other.jsonl"), "--figures", experiment, "--svg")).code).toBe(0);
    const [first, second] = await Promise.all(
      [experiment, mine].map((made) => readFile(join(made, "growth.svg"), "utf8")),
    );
    expect(first).not.toContain(">40<");
    expect(second).toContain(">40<");
    const alone = await scfa("report", join(mine, "other.jsonl"));
    expect(alone.code).toBe(2);
    expect(alone.err).toContain("Name the folder of the figures with --figures.");
  });
});
