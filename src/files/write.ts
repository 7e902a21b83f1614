import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, realpath, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { errorCode, fileError } from "./errors.ts";
import { forget, temporaryBeside } from "./leftovers.ts";

/** What a file holds: its length and the SHA-256 of its bytes in hexadecimal. */
export interface FileDigest {
  bytes: number;
  sha256: string;
}

export type Chunks = Uint8Array | string | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** A file being written piece by piece; memory is one piece. */
export interface FileSink {
  write(bytes: Uint8Array): Promise<void>;
  /** Makes the file durable (fsync) and closes it. */
  finish(): Promise<FileDigest>;
  /** Closes without a promise of durability; for a file that will be thrown away. */
  abandon(): Promise<void>;
}

/**
 * Creates a new file for streaming.
 * @param called the name that errors use
 * @throws DataError if it exists or cannot be created
 */
export async function createSink(path: string, called = path): Promise<FileSink> {
  let handle: FileHandle;
  try {
    handle = await open(path, "wx");
  } catch (error) {
    throw fileError(called, "create", error);
  }
  const hash = createHash("sha256");
  let bytesWritten = 0;
  return {
    async write(bytes) {
      try {
        await writeFully(handle, bytes);
      } catch (error) {
        throw fileError(called, "write", error, "Nothing that was there before is changed.");
      }
      hash.update(bytes);
      bytesWritten += bytes.length;
    },
    async finish() {
      try {
        await handle.sync();
        await handle.close();
      } catch (error) {
        throw fileError(called, "write", error, "Nothing that was there before is changed.");
      }
      return { bytes: bytesWritten, sha256: hash.digest("hex") };
    },
    async abandon() {
      await handle.close().catch(() => {});
    },
  };
}

async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, bytes.length - done)).bytesWritten;
  }
}

/** Writes all of `chunks` into a sink and makes it durable; the sink is closed in any case. */
export async function fillSink(sink: FileSink, chunks: Chunks): Promise<FileDigest> {
  try {
    if (typeof chunks === "string") await sink.write(new TextEncoder().encode(chunks));
    else if (chunks instanceof Uint8Array) await sink.write(chunks);
    else for await (const chunk of chunks) await sink.write(chunk);
    return await sink.finish();
  } catch (error) {
    await sink.abandon();
    throw error;
  }
}

/**
 * Replaces a file in one step: written beside it, made durable, renamed over it, the folder made durable. A crash, a kill
 * or a full disk at any moment leaves either the earlier file or the new one, whole.
 * @returns length and SHA-256 of what was written
 * @throws DataError if the file cannot be written; the earlier file is then unchanged
 */
export async function writeDurably(path: string, chunks: Chunks): Promise<FileDigest> {
  const target = await realpath(path).catch(() => path);
  const temporary = temporaryBeside(target);
  try {
    const digest = await fillSink(await createSink(temporary, path), chunks);
    await rename(temporary, target);
    await syncFolder(dirname(target));
    return digest;
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw fileError(path, "write", error, "The earlier file, if any, is unchanged.");
  } finally {
    forget(temporary);
  }
}

/** Makes the names in a folder durable, where the platform can. */
export async function syncFolder(folder: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(folder, "r");
    await handle.sync();
  } catch (error) {
    // Windows opens no folders; some network file systems cannot sync them. Neither loses the file's own bytes.
    if (!["EISDIR", "EPERM", "EINVAL", "ENOTSUP", "EACCES"].includes(errorCode(error) ?? "")) throw error;
  } finally {
    await handle?.close();
  }
}

/**
 * Makes a folder and its parents.
 * @throws DataError
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    throw fileError(path, "create the folder", error);
  }
}
