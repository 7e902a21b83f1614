import { createHash, randomBytes } from "node:crypto";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { errorCode } from "./errors.ts";

const host = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);
/** `.name.host-pid-random.tmp` is being written; `.name.host-pid-random.old` was set aside while its successor moves in. */
const pattern = /^\.(?<name>.+)\.(?<host>[0-9a-f]{8})-(?<pid>\d+)-[0-9a-f]{8}\.(?<kind>tmp|old)$/s;
const foreignAgeMs = 24 * 3600 * 1000;
const live = new Set<string>();

/** A fresh name beside `path` that is never mistaken for data; `forget` it when it is gone. */
export function temporaryBeside(path: string, kind: "tmp" | "old" = "tmp"): string {
  const tag = `${host}-${process.pid}-${randomBytes(4).toString("hex")}`;
  const result = join(dirname(path), `.${basename(path)}.${tag}.${kind}`);
  live.add(result);
  return result;
}

export function forget(temporary: string): void {
  live.delete(temporary);
}

/**
 * Removes what killed runs left behind in a folder, and puts back a folder that a killed run had set aside but not yet
 * replaced. Temporaries of running processes stay; those of other machines stay for a day.
 * @returns the names removed or put back
 */
export async function cleanLeftovers(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return [];
    throw error;
  });
  const cleaned: string[] = [];
  for (const name of names) {
    const match = pattern.exec(name)?.groups;
    const path = join(folder, name);
    if (!match || !(await isDead(path, match as { host: string; pid: string }))) continue;
    if (match["kind"] === "old") await putBack(path, join(folder, match["name"]!));
    await rm(path, { recursive: true, force: true });
    cleaned.push(name);
  }
  return cleaned;
}

async function putBack(aside: string, path: string): Promise<void> {
  const successorIsThere = await stat(path).then(
    () => true,
    () => false,
  );
  if (!successorIsThere) await rename(aside, path);
}

async function isDead(path: string, owner: { host: string; pid: string }): Promise<boolean> {
  if (live.has(path)) return false;
  const pid = Number(owner.pid);
  if (owner.host === host && (pid === process.pid || !isRunning(pid))) return true;
  // Another machine's, or a process number in use again: only age tells.
  const age = await stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => 0,
  );
  return age > foreignAgeMs;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}
