// Builds the package: AssemblyScript and WGSL kernels into importable modules, then TypeScript and CUDA kernels into dist/.
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, readdirSync, rmSync } from "node:fs";
import { buildKernels } from "./build-kernels.mjs";
import { buildWgsl } from "./build-wgsl.mjs";

await buildKernels();
buildWgsl();
rmSync("dist", { recursive: true, force: true });
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], { stdio: "inherit" });
// CUDA kernels are compiled on the user's machine, from where their launchers look for them: beside themselves.
for (const file of readdirSync("src/device/cuda").filter((name) => /\.cuh?$/.test(name))) {
  copyFileSync(`src/device/cuda/${file}`, `dist/device/cuda/${file}`);
}
try {
  chmodSync("dist/cli/main.js", 0o755);
} catch {}
