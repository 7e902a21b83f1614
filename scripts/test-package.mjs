// Packs the package as npm would publish it, installs the tarball into an empty folder and uses it from there:
// every entry point imports, the types resolve, the ten-line use runs, the command answers. Then packs the folder for a GPU
// host, unpacks it in an environment that knows nothing of this one, and runs its commands.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { packGpu } from "./pack-gpu.mjs";

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
  const sources = readdirSync("src/device/cuda").filter((name) => /\.cuh?$/.test(name));
  const missing = sources.filter((name) => !packed.files.some((f) => f.path === `dist/device/cuda/${name}`));
  if (missing.length > 0) throw new Error(`the package must hold every CUDA kernel, lacks ${missing.join(", ")}`);
  console.log(`${sources.length} CUDA sources are in it`);
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
  await tryGpuFolder();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Every command that a GPU host is for, small and on the CPU, with nothing on the PATH but what setup.sh puts there. */
async function tryGpuFolder() {
  const [made, moved] = [join(folder, "made"), join(folder, "elsewhere/scfa")];
  const { bytes } = await packGpu({ folder: made, withNode: true, level: 0 });
  mkdirSync(join(folder, "elsewhere"));
  cpSync(made, moved, { recursive: true });
  rmSync(made, { recursive: true });
  const use = `
    set -eu
    . "${moved}/setup.sh"
    [ "$(command -v scfa)" = "${moved}/bin/scfa" ] && [ "$(command -v node)" = "${moved}/bin/node" ]
    cd "${folder}" && mkdir work && cd work
    for i in $(seq 300); do echo "Many years later, as he faced the firing squad, he remembered line $i."; done > text.txt
    scfa info
    scfa selftest --device cpu --filter 'attention: hash' | tail -1
    scfa selftest --device cpu --random 20 | tail -1
    scfa prepare text.txt --out tokens --tokenizer gpt2 > /dev/null
    scfa bench attention --device cpu --lengths 256 --heads 1 --rounds 1 --peer none --json | grep -c '"commit":"'
    model='--layers 1 --heads 1 --width 32 --context 64 --attention dense --steps 2 --eval-every 2 --eval-batches 1'
    scfa train --data text.txt --out run --device cpu --tokenizer bytes $model > /dev/null
    scfa eval run --device cpu > /dev/null
    scfa sample run --device cpu --prompt 'Many years' --count 4 > /dev/null
    scfa report run > /dev/null
    node --input-type=module -e '
      const { createRequire } = await import("node:module");
      createRequire("${moved}/dist/index.js")("koffi").load(null);
      console.log("koffi: ok");'
    ls "${moved}/dist/device/cuda/common.cuh" "${moved}/bench/peers/train_torch.py" > /dev/null
    echo "a folder for a GPU host: ok"
  `;
  const env = { PATH: "/usr/bin:/bin", HOME: folder };
  const out = execFileSync("bash", ["-c", use], {
    env,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 120_000,
  });
  console.log(`${out.trim()} (${Math.round(bytes / 2 ** 20)} MiB at the lowest compression)`);
}
