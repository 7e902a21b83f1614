import { createHash } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { DataError } from "../errors.ts";
import { readJson } from "./json.ts";
import { openFile, pieces } from "./open.ts";
import type { FolderWriter } from "./publish.ts";
import type { FileDigest } from "./write.ts";

/** The file of a folder that holds the digests of all others. */
export const manifestName = "checksums.json";

const manifestSchema = z.strictObject({
  version: z.literal(1),
  files: z.record(
    z.string().regex(/^[^/\\]+$/, "a plain file name"),
    z.strictObject({ bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/, "64 hexadecimal digits") }),
  ),
});

/**
 * Length and SHA-256 of a file, read a piece at a time.
 * @throws DataError if it cannot be read
 */
export async function digestFile(path: string): Promise<FileDigest> {
  const source = await openFile(path);
  try {
    const hash = createHash("sha256");
    for await (const piece of pieces(source)) hash.update(piece);
    return { bytes: source.size, sha256: hash.digest("hex") };
  } finally {
    await source.close();
  }
}

/** Writes `checksums.json` for all files finished so far; the last act of filling a folder. */
export async function writeManifest(folder: FolderWriter): Promise<FileDigest> {
  const manifest = { version: 1, files: Object.fromEntries(folder.digests) };
  return folder.write(manifestName, `${JSON.stringify(manifest, null, 2)}\n`);
}

/**
 * Checks every file of a folder against its `checksums.json`.
 * @returns the digests by name
 * @throws DataError naming the first file that is missing, of another length, or changed
 */
export async function verifyFolder(path: string): Promise<Record<string, FileDigest>> {
  const source = await openFile(join(path, manifestName));
  const { files } = await readJson(source, manifestSchema).finally(() => source.close());
  for (const [name, expected] of Object.entries(files)) {
    await verifyFile(join(path, name), expected);
  }
  return files;
}

/**
 * Checks one file against its digest; the length first, since that costs nothing.
 * @throws DataError
 */
export async function verifyFile(path: string, expected: FileDigest): Promise<void> {
  const source = await openFile(path);
  await source.close();
  if (source.size !== expected.bytes) {
    const detail = `the file must hold ${expected.bytes} bytes, but holds ${source.size}`;
    throw new DataError(path, "length", detail, "It was cut short or changed; use an earlier copy.");
  }
  const { sha256 } = await digestFile(path);
  if (sha256 !== expected.sha256) {
    const detail = `the bytes do not match their checksum (SHA-256 ${sha256.slice(0, 12)}..., expected ${expected.sha256.slice(0, 12)}...)`;
    throw new DataError(path, "content", detail, "The file was damaged or changed; use an earlier copy.");
  }
}
