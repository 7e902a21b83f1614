import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Whether this machine has a C++ compiler for its own processor. */
export const hasCompiler = (() => {
  try {
    execFileSync("g++", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

/** The text of a struct in a source, with its braces. */
export function structText(source: string, name: string): string {
  const start = source.indexOf(`struct ${name} {`);
  if (start < 0) throw new Error(`no struct ${name}`);
  return source.slice(start, source.indexOf("\n};", start) + 3);
}

/** Where a compiler puts fields of a struct, by path (`q.data`); the device's compiler lays structs out alike. */
export function fieldOffsets(source: string, struct: string, paths: readonly string[]): Record<string, number> {
  const folder = mkdtempSync(join(tmpdir(), "scfa-struct-"));
  try {
    const [text, program] = [join(folder, "layout.cpp"), join(folder, "layout")];
    const print = paths.map((path) => `printf("%zu\\n", offsetof(${struct}, ${path}));`).join(" ");
    const types = "typedef long long i64; typedef unsigned u32;";
    writeFileSync(text, `#include <cstddef>\n#include <cstdio>\n${types}\n${source}\nint main() { ${print} }\n`);
    execFileSync("g++", ["-std=c++17", "-w", text, "-o", program]);
    const offsets = execFileSync(program, { encoding: "utf8" }).trim().split("\n").map(Number);
    return Object.fromEntries(paths.map((path, n) => [path, offsets[n]!]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
