import { readdir, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { DataError } from "../errors.ts";
import { errorCode, fileError } from "../files/errors.ts";

export type InputKind = "text" | "jsonl" | "parquet";

export interface Input {
  /** How to open it. */
  path: string;
  /** What `meta.json` calls it: the file's name, or its path inside the folder given. */
  name: string;
  kind: InputKind;
  bytes: number;
}

/**
 * The files that a list of files, folders and patterns (`*`, `?`, `**`) stands for, each once, in the order given; those of
 * a folder or a pattern by name. Hidden files in folders are left out.
 * @throws DataError if one of them stands for nothing, or is no regular file
 */
export async function expandInputs(files: readonly string[]): Promise<Input[]> {
  const inputs = new Map<string, Input>();
  for (const file of files) {
    const found = await expand(file);
    if (found.length === 0) throw new DataError(file, "open", "there are no files in it", "Name files that hold text.");
    for (const { path, name } of found) {
      const key = resolve(path);
      if (!inputs.has(key)) inputs.set(key, await describe(path, name));
    }
  }
  return [...inputs.values()];
}

interface Found {
  path: string;
  name: string;
}

async function expand(file: string): Promise<Found[]> {
  try {
    const status = await stat(file);
    return status.isDirectory() ? await walk(file, "") : [{ path: file, name: basename(file) }];
  } catch (error) {
    if (errorCode(error) === "ENOENT" && /[*?]/.test(file)) return expandPattern(file);
    throw fileError(file, "open", error);
  }
}

async function expandPattern(pattern: string): Promise<Found[]> {
  const segments = pattern.split("/");
  const fixed = segments.findIndex((segment) => /[*?]/.test(segment));
  const root = segments.slice(0, fixed).join("/") || (pattern.startsWith("/") ? "/" : ".");
  const matcher = patternToRegExp(segments.slice(fixed));
  try {
    return (await walk(root, "")).filter(({ name }) => matcher.test(name));
  } catch (error) {
    throw fileError(root, "open", error);
  }
}

function patternToRegExp(segments: readonly string[]): RegExp {
  const parts = segments.map((segment, i) => {
    if (segment === "**") return i === segments.length - 1 ? ".*" : "(?:[^/]+/)*";
    // Neighbouring stars mean one, and would only make matching slow.
    const literal = segment.replace(/\*+/g, "*").replace(/[.+^${}()|[\]\\]/g, "\\$&");
    const end = i === segments.length - 1 ? "" : "/";
    return literal.replaceAll("*", "[^/]*").replaceAll("?", "[^/]") + end;
  });
  return new RegExp(`^${parts.join("")}$`, "su");
}

/** All files below a folder, sorted by path; links to folders are not followed, so there are no circles. */
async function walk(root: string, inside: string): Promise<Found[]> {
  const entries = await readdir(join(root, inside), { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  const found: Found[] = [];
  for (const entry of entries) {
    const name = inside ? `${inside}/${entry.name}` : entry.name;
    const path = join(root, name);
    if (entry.name.startsWith(".")) continue;
    if (entry.isDirectory()) found.push(...(await walk(root, name)));
    else if (entry.isFile() || (entry.isSymbolicLink() && (await stat(path)).isFile())) found.push({ path, name });
  }
  return found;
}

async function describe(path: string, name: string): Promise<Input> {
  const status = await stat(path).catch((error: unknown) => {
    throw fileError(path, "open", error);
  });
  if (!status.isFile()) {
    throw new DataError(path, "open", "this is a pipe or a device, not a regular file", "Save it to a file first.");
  }
  return { path, name, kind: kindOf(path), bytes: status.size };
}

function kindOf(path: string): InputKind {
  if (/\.(jsonl|ndjson)$/i.test(path)) return "jsonl";
  return /\.parquet$/i.test(path) ? "parquet" : "text";
}
