import { DataError, ScfaError } from "../errors.ts";

const retry = "then run the command again";

/** What each system error means to a person, and what to do about it. */
const meanings: Record<string, { what: string; fix: string }> = {
  ENOENT: { what: "no such file or folder", fix: "Check the spelling of the path." },
  EACCES: { what: "permission is denied", fix: `Change the permissions or choose another place, ${retry}.` },
  EPERM: { what: "the operation is not permitted", fix: `Change the permissions or choose another place, ${retry}.` },
  EROFS: { what: "the file system is read-only", fix: "Choose a place on another disk." },
  EISDIR: { what: "this is a folder, not a file", fix: "Name a file." },
  ENOTDIR: { what: "a part of the path is a file, not a folder", fix: "Check the path." },
  ENOSPC: { what: "the disk is full", fix: `Free some space, ${retry}.` },
  EDQUOT: { what: "the disk quota is used up", fix: `Free some space, ${retry}.` },
  EFBIG: { what: "the file grew larger than the file system or a limit allows", fix: "Choose another disk." },
  EMFILE: { what: "too many files are open in this process", fix: "Raise the limit (ulimit -n)." },
  ENFILE: { what: "too many files are open on this machine", fix: "Close some programs." },
  ENAMETOOLONG: { what: "the name is too long", fix: "Choose a shorter one." },
  EEXIST: { what: "it already exists", fix: "Remove it or choose another name." },
  ENOTEMPTY: { what: "it already exists and is not empty", fix: "Remove it or choose another name." },
  EBUSY: { what: "it is in use or a mount point", fix: "Choose another place." },
  EXDEV: { what: "it is a mount point", fix: "Choose a folder inside it." },
  EIO: { what: "the disk reports an input/output error", fix: "Check the disk." },
  ELOOP: { what: "the path goes in circles through symbolic links", fix: "Check the links." },
  ERR_INVALID_ARG_VALUE: { what: "this is no valid path", fix: "Check the path." },
};

/**
 * Turns an error of the file system into a DataError of one sentence that names the file, the action and the fix; the
 * system's own error is its `cause`. An error of this package, or one that is not the system's, comes back as it is.
 * @param doing what was being done, as a verb: "read", "write"
 * @param note a last sentence, for example that the earlier file is unchanged
 */
export function fileError(file: string, doing: string, error: unknown, note = ""): unknown {
  const code = errorCode(error);
  if (error instanceof ScfaError || code === undefined) return error;
  const { what, fix } = meanings[code] ?? { what: (error as Error).message, fix: "" };
  const result = new DataError(file, doing, `${what} (${code})`, [fix, note].filter(Boolean).join(" "));
  result.cause = error;
  return result;
}

/** The system's code of an error ("ENOENT"), if it has one. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === "string" ? code : undefined;
}
