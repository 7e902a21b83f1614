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

    const asFile = ["--format", "scfa", "--threads", "1"];
    expect((await scfa("export", at("a"), "--out", at("a.safetensors"), ...asFile)).code).toBe(0);
    expect((await scfa("sample", at("a.safetensors"), ...flags)).out).toBe(first.out);
    expect((await scfa("export", at("a"), "--out", at("a.bin"), ...asFile)).err).toMatch(/must end in \.safetensors/);

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
    const sizes = ["--lengths", "96", "--heads", "2", "--rounds", "1", "--threads", "1", "--peer", "none"];
    const attention = await scfa("bench", "attention", ...sizes, "--head-dimension", "16", "--json-out", file);
    expect(attention).toMatchObject({ code: 0 });
    expect(attention.out).toMatch(/hash\(16\) .* yes$/m);
    const train = await scfa("bench", "train", ...sizes.slice(0, -2), "--head-dimension", "16", "--json-out", file);
    expect(train).toMatchObject({ code: 0 });
    const two = ["--lengths", "64,128", "--tokens", "128", "--patterns", "dense", "--rounds", "1", "--threads", "1"];
    const preset = await scfa("bench", "train", "--preset", "demo", ...two, "--json-out", file);
    expect(preset).toMatchObject({ code: 0 });
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
      "train",
      "train",
    ]);
    for (const record of records.slice(3)) {
      expect(record.peakBytes).toBeGreaterThan(4 * 4 * record.parameters);
      // Each step has a batch of its own, and the first ones learn little: about as good as guessing among 256.
      for (const loss of record.losses) expect(Math.abs(loss - Math.log(256))).toBeLessThan(0.2);
      expect(record.dtype).toBe("f32");
    }
    const ofPreset = records.slice(-2).map(({ preset, width, context, batch }) => ({ preset, width, context, batch }));
    expect(ofPreset).toEqual([
      { preset: "demo", width: 128, context: 64, batch: 2 },
      { preset: "demo", width: 128, context: 128, batch: 1 },
    ]);
    for (const record of records) {
      expect(record.machine.cores).toBeGreaterThan(0);
      expect(record.command).toMatch(/^scfa bench /);
      expect(Date.parse(record.date)).toBeGreaterThan(0);
    }
  });

  test("selftest --random: a case is run again by the flags that it names", async () => {
    const random = ["selftest", "--device", "cpu", "--threads", "1", "--json", "--seed", "3", "--random"];
    const { code, out } = await scfa(...random, "12");
    expect(code).toBe(0);
    const { outcomes } = JSON.parse(out) as { outcomes: { name: string; repeat: string[] }[] };
    expect(outcomes).toHaveLength(12);
    expect(outcomes[7]!.repeat.join(" ")).toBe("--random 1 --seed 3 --first 7");
    const again = JSON.parse((await scfa("selftest", "--device", "cpu", "--json", ...outcomes[7]!.repeat)).out);
    expect(again.outcomes).toMatchObject([{ name: outcomes[7]!.name, pass: true }]);
  });

  test("selftest refuses a type that the device does not compute in, and --seed without --random", async () => {
    expect(await scfa("selftest", "--device", "cpu", "--dtype", "bf16")).toMatchObject({
      code: 2,
      err: expect.stringMatching(/--dtype is a type that cpu .* computes in: f32\.\n$/),
    });
    expect(await scfa("selftest", "--seed", "3")).toMatchObject({ code: 2 });
  });

  test("selftest runs a part of the suite, as a table and as JSON", async () => {
    const { code, out } = await scfa("selftest", "--device", "cpu", "--threads", "1", "--filter", "gradNorm");
    expect(code).toBe(0);
    expect(out).toMatch(/gradNorm +pass +(\d+)\/\1 /);
    const json = await scfa("selftest", "--device", "cpu", "--threads", "1", "--filter", "gradNorm", "--json");
    expect(JSON.parse(json.out)).toMatchObject({ failed: 0 });
    expect((await scfa("selftest", "--filter", "no such case")).err).toMatch(/no case has "no such case" in its name/);
    const cpu = ["selftest", "--device", "cpu", "--threads", "1", "--filter", "cast"];
    const others = JSON.parse((await scfa(...cpu, "--without", "BF16", "--json")).out);
    expect(others.outcomes.map(({ name }: { name: string }) => name)).toEqual(
      ["f32", "f16"].map((type) => `cast: rounds to the nearest ${type}, even on a tie, and back`),
    );
    expect((await scfa(...cpu, "--without", "cast")).err).toMatch(/no case has "cast" in its name without "cast"/);
  });
});
