// Writes the texts of src/device/webgpu/*.wgsl into src/device/webgpu/generated/wgsl.ts, by name of the file: they load
// the same way in Node, in bundlers and in pages.
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = resolve(dirname(fileURLToPath(import.meta.url)), "../src/device/webgpu");

export function buildWgsl() {
  const files = readdirSync(folder)
    .filter((name) => name.endsWith(".wgsl"))
    .sort();
  const text = [
    "// Made by scripts/build-wgsl.mjs.",
    "export const wgsl: Readonly<Record<string, string>> = {",
    ...files.map((name) => `${name.slice(0, -5)}: ${JSON.stringify(readFileSync(resolve(folder, name), "utf8"))},`),
    "};",
    "",
  ].join("\n");
  const target = resolve(folder, "generated/wgsl.ts");
  mkdirSync(dirname(target), { recursive: true });
  // Written beside and renamed, so that a process that reads meanwhile never sees half a file.
  writeFileSync(`${target}.${process.pid}`, text);
  renameSync(`${target}.${process.pid}`, target);
  return { files: files.length };
}

if (process.argv[1] && fileURLToPath(import.meta.url) === resolve(process.argv[1])) {
  console.log(`wgsl: ${buildWgsl().files} files`);
}
