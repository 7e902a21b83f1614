// Brings a clone to where its commands run: dependencies as locked, and a build newer than every source.
import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";

const newest = (path) => {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(
    0,
    ...readdirSync(path)
      .filter((name) => name !== "generated")
      .map((name) => newest(join(path, name))),
  );
};
const run = (command, args) => execFileSync(command, args, { stdio: "inherit", shell: process.platform === "win32" });

const installed = "node_modules/.package-lock.json";
if (!existsSync(installed) || newest("package-lock.json") > newest(installed)) {
  // npm ci empties node_modules first, through a link as well: those of another checkout.
  if (lstatSync("node_modules", { throwIfNoEntry: false })?.isSymbolicLink()) {
    const target = readlinkSync("node_modules");
    console.error(
      `setup: node_modules must be this checkout's own to be installed, got a link to ${target}. Remove the link and run it again.`,
    );
    process.exit(1);
  }
  run("npm", ["ci", "--no-audit", "--no-fund"]);
}

const built = "dist/index.js";
if (!existsSync(built) || Math.max(newest("src"), newest("scripts"), newest("package.json")) > newest(built)) {
  run(process.execPath, ["scripts/build.mjs"]);
}
