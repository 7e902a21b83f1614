import { ScfaError } from "../errors.ts";

/** The operating system would not do something with a file: disk full, no permission, not a folder. */
export class FileError extends ScfaError {
  override name = "FileError";
  constructor(
    readonly file: string,
    readonly action: string,
    readonly code: string,
    detail: string,
  ) {
    super(`${file}: ${action} failed, ${detail} (${code}).`);
  }
}

const meanings: Record<string, string> = {
  ENOSPC: "the disk is full",
  EACCES: "permission is denied",
  EPERM: "permission is denied",
  EROFS: "the file system is read-only",
  ENOENT: "there is no such file or folder",
  ENOTDIR: "a part of the path is a file, not a folder",
  EISDIR: "it is a folder, not a file",
  EDQUOT: "the disk quota is used up",
};

/** What Node threw, in words; anything that is not of the file system comes back as it is. */
export function fileError(file: string, action: string, error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const code = (error as NodeJS.ErrnoException).code;
  if (code === undefined || error instanceof ScfaError) return error;
  return new FileError(file, action, code, meanings[code] ?? error.message);
}
