import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const setup = fileURLToPath(new URL("../scripts/setup.mjs", import.meta.url));

test("setup installs nothing through a link to another checkout's modules", () => {
  const folder = mkdtempSync(join(tmpdir(), "scfa-setup-"));
  const [theirs, ours] = [join(folder, "theirs"), join(folder, "ours")];
  mkdirSync(join(theirs, "module"), { recursive: true });
  mkdirSync(ours);
  writeFileSync(join(ours, "package-lock.json"), "{}");
  symlinkSync(theirs, join(ours, "node_modules"), "junction");
  const { status, stderr } = spawnSync(process.execPath, [setup], { cwd: ours, encoding: "utf8" });
  expect(status).toBe(1);
  expect(stderr).toBe(
    `setup: node_modules must be this checkout's own to be installed, got a link to ${theirs}. Remove the link and run it again.\n`,
  );
  expect(existsSync(join(theirs, "module"))).toBe(true);
  rmSync(folder, { recursive: true });
});
