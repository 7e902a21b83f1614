import { type FileHandle, open } from "node:fs/promises";
import { DataError } from "../errors.ts";
import { fileError } from "./errors.ts";
import { type ByteSource, checkRange } from "./source.ts";

/** A regular file opened for reading at any place. */
export interface FileSource extends ByteSource {
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Opens a regular file for reading. Nothing is read ahead or kept: memory is what each read asks for.
 * @throws DataError if there is no such file, it may not be read, or it is a folder, a pipe or a device
 */
export async function openFile(path: string): Promise<FileSource> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    const stat = await handle.stat();
    if (stat.isDirectory()) throw new DataError(path, "open", "this is a folder, not a file", "Name a file.");
    if (!stat.isFile()) {
      throw new DataError(path, "open", "this is a pipe or a device, not a regular file", "Save it to a file first.");
    }
    return fileSource(path, handle, stat.size);
  } catch (error) {
    await handle?.close();
    throw fileError(path, "open", error);
  }
}

function fileSource(path: string, handle: FileHandle, size: number): FileSource {
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= handle.close();
    return closing;
  };
  return {
    name: path,
    size,
    async read(offset, length) {
      checkRange({ name: path, size }, offset, length);
      const bytes = new Uint8Array(length);
      try {
        await readFully(handle, bytes, offset, path);
      } catch (error) {
        throw fileError(path, `read at byte ${offset}`, error);
      }
      return bytes;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function readFully(handle: FileHandle, bytes: Uint8Array, offset: number, path: string): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, offset + done);
    if (bytesRead === 0) {
      const place = `byte ${offset + done}`;
      throw new DataError(
        path,
        place,
        "the file became shorter while it was being read",
        "Do not change it meanwhile.",
      );
    }
    done += bytesRead;
  }
}

/** The whole of a source in order, `pieceBytes` at a time. */
export async function* pieces(
  source: ByteSource,
  { start = 0, end = source.size, pieceBytes = 1 << 20 }: { start?: number; end?: number; pieceBytes?: number } = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let offset = start; offset < end; offset += pieceBytes) {
    yield await source.read(offset, Math.min(pieceBytes, end - offset));
  }
}
