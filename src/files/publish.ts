import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { DataError } from "../errors.ts";
import { errorCode, fileError } from "./errors.ts";
import { cleanLeftovers, forget, temporaryBeside } from "./leftovers.ts";
import { type Chunks, createSink, type FileDigest, type FileSink, fillSink, makeFolder, syncFolder } from "./write.ts";

/** The folder being filled; every file made through it is durable before the folder appears. */
export interface FolderWriter {
  /** Where the files lie until the folder is published. */
  readonly path: string;
  /** Digests of the files finished so far, by name. */
  readonly digests: ReadonlyMap<string, FileDigest>;
  /** Writes one file. */
  write(name: string, chunks: Chunks): Promise<FileDigest>;
  /** Opens one file for streaming; `finish` it before `fill` returns. */
  create(name: string): Promise<FileSink>;
}

export interface PublishOptions {
  /** Replace a folder of that name. Without it an existing folder that is not empty is an error. */
  overwrite?: boolean;
  /** Names that a folder to be replaced may hold; any other file in it is an error, so that nothing else is lost. */
  expected?: readonly string[];
}

/**
 * Publishes a folder in one step: `fill` writes into a temporary folder beside it, which is made durable and renamed into
 * place. A kill at any moment leaves the earlier folder or the new one, or the earlier one set aside under a hidden name,
 * which the next `publishFolder` or `cleanLeftovers` there puts back.
 * @returns what `fill` returned
 * @throws DataError if the folder exists (without `overwrite`), holds other files, or cannot be written
 */
export async function publishFolder<R>(
  path: string,
  fill: (folder: FolderWriter) => Promise<R>,
  options: PublishOptions = {},
): Promise<R> {
  const target = resolve(path);
  await makeFolder(dirname(target));
  let temporary: string | undefined;
  try {
    await cleanLeftovers(dirname(target));
    await checkTarget(target, path, options);
    temporary = temporaryBeside(target);
    await mkdir(temporary);
    const result = await fill(folderWriter(temporary, path));
    await syncFolder(temporary);
    await moveIn(temporary, target, options);
    await syncFolder(dirname(target));
    return result;
  } catch (error) {
    if (temporary) await rm(temporary, { recursive: true, force: true }).catch(() => {});
    throw fileError(path, "write the folder", error, "Nothing that was there before is changed.");
  } finally {
    if (temporary) forget(temporary);
  }
}

function folderWriter(temporary: string, path: string): FolderWriter {
  const digests = new Map<string, FileDigest>();
  const create = async (name: string): Promise<FileSink> => {
    const sink = await createSink(join(temporary, name), join(path, name));
    const finish = async () => {
      const digest = await sink.finish();
      digests.set(name, digest);
      return digest;
    };
    return { ...sink, finish };
  };
  return { path: temporary, digests, create, write: async (name, chunks) => fillSink(await create(name), chunks) };
}

async function checkTarget(target: string, path: string, { overwrite, expected }: PublishOptions): Promise<void> {
  const names = await readdir(target).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return [];
    if (errorCode(error) !== "ENOTDIR") throw error;
    throw new DataError(path, "create the folder", "a file of this name exists", "Remove it or choose another name.");
  });
  if (names.length === 0) return;
  const others = expected && names.filter((name) => !expected.includes(name));
  if (others && others.length > 0) {
    const rule = `the folder holds other files (${others.slice(0, 3).join(", ")}${others.length > 3 ? ", ..." : ""})`;
    throw new DataError(path, "create the folder", rule, "Choose a new or empty folder.");
  }
  if (!overwrite) {
    const fix = "Choose another name, or ask for it to be overwritten.";
    throw new DataError(path, "create the folder", "it already exists and is not empty", fix);
  }
}

async function moveIn(temporary: string, target: string, { overwrite }: PublishOptions): Promise<void> {
  if (!overwrite) {
    await rename(temporary, target);
    return;
  }
  const aside = temporaryBeside(target, "old");
  try {
    const hadTarget = await rename(target, aside).then(
      () => true,
      (error: unknown) => {
        if (errorCode(error) === "ENOENT") return false;
        throw error;
      },
    );
    try {
      await rename(temporary, target);
    } catch (error) {
      if (hadTarget) await rename(aside, target);
      throw error;
    }
    // The new folder is in place already; a rest of the old one is swept away by the next run.
    await rm(aside, { recursive: true, force: true }).catch(() => {});
  } finally {
    forget(aside);
  }
}
