// Builds the package: AssemblyScript kernels into an importable module, then TypeScript into dist/.
import { execFileSync } from "node:child_process";
import { chmodSync, rmSync } from "node:fs";
import { buildKernels } from "./build-kernels.mjs";

await buildKernels();
rmSync("dist", { recursive: true, force: true });
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], { stdio: "inherit" });
try {
  chmodSync("dist/cli/main.js", 0o755);
} catch {}
