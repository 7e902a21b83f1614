// Packs the package as npm would publish it, installs the tarball into an empty folder and uses it from there:
// every entry point imports, the types resolve, the ten-line use runs, the command answers.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "scfa-package-"));
const run = (command, args, cwd = folder) =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

try {
  const [packed] = JSON.parse(
    run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], process.cwd()),
  );
  console.log(`${packed.filename}: ${packed.files.length} files, ${Math.round(packed.size / 1024)} KiB`);
  const strays = packed.files
    .map((f) => f.path)
    .filter((p) => !/^(dist\/|LICENSE$|README\.md$|package\.json$)/.test(p));
  if (strays.length > 0) throw new Error(`the package must hold dist/ only, got ${strays.join(", ")}`);

  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", join(folder, packed.filename)]);

  const entries = Object.keys(JSON.parse(readFileSync("package.json", "utf8")).exports);
  const modules = entries.filter((entry) => !entry.endsWith(".json")).map((entry) => entry.replace(".", "scfa"));
  for (const name of modules) {
    const count = run(process.execPath, ["-e", `import("${name}").then((m) => console.log(Object.keys(m).length))`]);
    if (Number(count) === 0) throw new Error(`${name} must export something`);
    console.log(`import "${name}": ${count.trim()} names`);
  }

  const use = `
    import { attention, openDevice, pattern } from "scfa";
    const device = await openDevice("cpu");
    const [B, T, H, D] = [1, 33, 2, 16];
    const random = () => device.tensor(Float32Array.from({ length: B * T * H * D }, Math.random), [B, T, H, D]);
    const { o, backward } = attention(random(), random(), random(), { pattern: pattern.window(8) });
    const { dq } = backward(random());
    const values: Float32Array = await o.read();
    console.log(values.length === B * T * H * D && (await dq.read()).every(Number.isFinite) ? "attention: ok" : "attention: wrong");
    device.dispose();
  `;
  writeFileSync(join(folder, "use.ts"), use);
  const compilerOptions = { strict: true, module: "nodenext", target: "es2022", lib: ["es2024", "dom"], types: [] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["use.ts"] }));
  run(process.execPath, [resolve("node_modules/typescript/bin/tsc"), "-p", folder]);
  const answer = run(process.execPath, ["use.js"]).trim();
  if (answer !== "attention: ok") throw new Error(`the ten-line use must run, got ${answer}`);
  console.log(answer);

  console.log(run("npx", ["--no-install", "scfa", "info"]).trim());
} finally {
  rmSync(folder, { recursive: true, force: true });
}
