import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

/** The machine that a number was measured on. */
export interface Machine {
  /** All of it in one line for people. */
  readonly text: string;
  readonly cpu: string;
  /** Cores that this process may use. */
  readonly cores: number;
  readonly memoryBytes: number;
  readonly platform: string;
  readonly node: string;
}

export function describeMachine(): Machine {
  const cpu = (cpus()[0]?.model ?? "").replace(/\s+/g, " ").trim() || "unknown CPU";
  const cores = availableParallelism();
  const memoryBytes = totalmem();
  const platform = `${process.platform} ${process.arch}`;
  const node = process.versions.node;
  const memory = `${Math.round(memoryBytes / 2 ** 30)} GiB`;
  const text = [cpu, `${cores} ${cores === 1 ? "core" : "cores"}`, memory, platform, `Node ${node}`].join(", ");
  return { text, cpu, cores, memoryBytes, platform, node };
}

/**
 * The commit that this code was built from, with `+` if there are changes; null outside of a checkout. A folder packed for
 * another machine says it in a file.
 */
export function sourceCommit(): string | null {
  const packed = new URL("../../commit", import.meta.url);
  if (existsSync(packed)) return readFileSync(packed, "utf8").trim();
  const cwd = fileURLToPath(new URL("../..", import.meta.url));
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    // An installed package may lie inside somebody else's repository.
    if (git("ls-files", "package.json") === "") return null;
    const isClean = git("status", "--porcelain", "--untracked-files=no") === "";
    return git("rev-parse", "--short=10", "HEAD") + (isClean ? "" : "+");
  } catch {
    return null;
  }
}
