import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { scfa } from "../../test/inProcess.ts";

let folder: string;
let text: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "scfa-training-"));
  text = join(folder, "text.txt");
  await writeFile(text, "It was the best of times, it was the worst of times. ".repeat(120));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const small = ["--context", "64", "--layers", "1", "--heads", "2", "--width", "32", "--threads", "1"];

async function losses(run: string): Promise<number[]> {
  const lines = (await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n");
  return lines.map((line) => JSON.parse(line).loss);
}

describe("a run from the command line", () => {
  const at = (name: string) => join(folder, name);

  test("trains on a plain text, and everything is in its folder", async () => {
    const flags = ["--attention", "window(8):1 hash(4):1", "--steps", "12", "--eval-every", "6"];
    const { code, out, err } = await scfa("train", "--data", text, "--out", at("a"), ...small, ...flags);
    expect({ code, err: code === 0 ? "" : err }).toEqual({ code: 0, err: "" });
    expect(out).toContain("12 steps done");
    expect(err).toMatch(/step 12\/12 {2}loss \d\.\d{3} {2}[\d,]+ tokens\/s/);
    expect(err).toMatch(/step 6: validation loss \d\.\d{3}/);
    expect(await losses(at("a"))).toHaveLength(12);
    const details = JSON.parse(await readFile(join(at("a"), "run.json"), "utf8"));
    expect(details).toMatchObject({ tokenizer: "bytes", attention: "window(8):1 hash(4):1" });
    expect(details.command).toContain("--attention 'window(8):1 hash(4):1'");
    expect(details.heads.map(({ label }: { label: string }) => label)).toEqual([
      "layer 1, head 1: window(8)",
      "layer 1, head 2: hash(4)",
    ]);
    expect(details.sample.text.length).toBeGreaterThan(100);
  });

  test("its folder is not used for another run", async () => {
    const { code, err } = await scfa("train", "--data", text, "--out", at("a"), ...small);
    expect(code).toBe(2);
    expect(err).toMatch(/holds a run already. Go on with it by --resume/);
  });

  test("is measured, sampled and reported", async () => {
    const measured = JSON.parse((await scfa("eval", at("a"), "--json", "--threads", "1")).out);
    expect(measured).toMatchObject({ step: 12 });
    expect(measured.bitsPerByte).toBeCloseTo(measured.loss / Math.LN2, 12);

    const flags = ["--prompt", "It was", "--count", "30", "--threads", "1"];
    const first = await scfa("sample", at("a"), ...flags);
    expect(first.out.startsWith("It was")).toBe(true);
    expect((await scfa("sample", at("a"), ...flags)).out).toBe(first.out);
    expect((await scfa("sample", at("a"), ...flags, "--seed", "2")).out).not.toBe(first.out);

    const page = at("page.html");
    expect((await scfa("report", at("a"), "--out", page)).code).toBe(0);
    expect((await readFile(page, "utf8")).includes("What attention sees")).toBe(true);
  });

  test("settings come from a file, and flags win over it", async () => {
    const file = at("config.json");
    const model = { layers: 1, heads: 2, width: 32, context: 32, attention: "window(4)" };
    await writeFile(file, JSON.stringify({ model, train: { steps: 2, evalBatches: 0 } }));
    const { code } = await scfa("train", file, "--data", text, "--out", at("b"), "--steps", "3", "--threads", "1");
    expect(code).toBe(0);
    const config = JSON.parse(await readFile(join(at("b"), "config.json"), "utf8"));
    expect(config).toMatchObject({ model: { ...model, vocabulary: 256 }, train: { steps: 3, evalBatches: 0 } });
  });

  test("a file with an unknown section or field is refused by name", async () => {
    const file = at("bad.json");
    await writeFile(file, '{"modell": {}}');
    expect((await scfa("train", file, "--data", text, "--out", at("c"))).err).toMatch(/bad\.json.*modell/);
    const model = { layers: 1, heads: 2, width: 32, context: 32 };
    await writeFile(file, JSON.stringify({ model, train: { step: 3 } }));
    expect((await scfa("train", file, "--data", text, "--out", at("c"))).err).toMatch(/"step"/);
  });

  test("a preset's context shrinks for a short text, and says so", async () => {
    const { code, err } = await scfa("train", "--data", text, "--out", at("d"), "--steps", "1", "--threads", "1");
    expect(code).toBe(0);
    expect(err).toContain("context 512: the text is too short for 4096");
  });

  test("a dense GPT-2 goes out to Hugging Face's form and comes back the same", async () => {
    const flags = [
      "--attention",
      "dense",
      "--shared-qk",
      "off",
      "--biases",
      "on",
      "--positions",
      "learned",
      "--steps",
      "3",
    ];
    expect((await scfa("train", "--data", text, "--out", at("e"), ...small, ...flags)).code).toBe(0);
    expect((await scfa("export", at("e"), "--out", at("hf"), "--threads", "1")).code).toBe(0);
    expect((await scfa("import", at("hf"), "--out", at("f"), "--threads", "1")).code).toBe(0);
    const flagsOfSample = ["--count", "20", "--threads", "1"];
    const written = await scfa("sample", at("e"), ...flagsOfSample);
    expect((await scfa("sample", at("f"), ...flagsOfSample)).out).toBe(written.out);
    const refused = await scfa("export", at("a"), "--out", at("no"), "--threads", "1");
    expect(refused).toMatchObject({ code: 2, out: "" });
    expect(refused.err).toMatch(/^scfa: export: Hugging Face.s GPT-2 has learned positions, got rope/);
  });

  test("benchmarks check what they time, and keep it", async () => {
    const file = at("results/x.jsonl");
    const sizes = ["--lengths", "96", "--heads", "2", "--rounds", "1", "--threads", "1", "--no-peer"];
    const attention = await scfa("bench", "attention", ...sizes, "--head-dimension", "16", "--json-out", file);
    expect(attention).toMatchObject({ code: 0 });
    expect(attention.out).toMatch(/hash\(16\) .* yes$/m);
    const train = await scfa("bench", "train", ...sizes.slice(0, -1), "--head-dimension", "16", "--json-out", file);
    expect(train).toMatchObject({ code: 0 });
    const records = (await readFile(file, "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(records.map(({ bench }) => bench)).toEqual([
      "attention",
      "attention",
      "attention",
      "train",
      "train",
      "train",
    ]);
    for (const record of records) {
      expect(record.machine.cores).toBeGreaterThan(0);
      expect(record.command).toMatch(/^scfa bench /);
      expect(Date.parse(record.date)).toBeGreaterThan(0);
    }
  });

  test("selftest runs a part of the suite, as a table and as JSON", async () => {
    const { code, out } = await scfa("selftest", "--device", "cpu", "--threads", "1", "--filter", "gradNorm");
    expect(code).toBe(0);
    expect(out).toMatch(/gradNorm +pass +(\d+)\/\1 /);
    const json = await scfa("selftest", "--device", "cpu", "--threads", "1", "--filter", "gradNorm", "--json");
    expect(JSON.parse(json.out)).toMatchObject({ failed: 0 });
    expect((await scfa("selftest", "--filter", "no such case")).err).toMatch(/no case has "no such case" in its name/);
  });
});
