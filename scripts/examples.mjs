// Runs every program in examples/, each of which checks its own claim; fails if one of them fails.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const programs = readdirSync("examples")
  .filter((name) => name.endsWith(".mjs"))
  .sort();
const failed = programs.filter((name) => {
  console.log(`\n-- examples/${name}`);
  const { status } = spawnSync(process.execPath, [join("examples", name)], { stdio: "inherit", timeout: 120_000 });
  return status !== 0;
});
console.log(`\n${programs.length - failed.length} of ${programs.length} examples pass`);
if (failed.length > 0 || programs.length === 0) process.exit(1);
