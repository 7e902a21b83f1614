import { appendFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileError, makeFolder } from "../files/index.ts";

/** What every recorded number carries: where, when, by which code and command it was measured. */
export interface Provenance {
  readonly date: string;
  readonly version: string;
  readonly commit: string | null;
  readonly command: string;
  readonly machine: object;
  readonly device: string;
}

/**
 * Appends measurements to a file, one JSON object a line.
 * @throws DataError if it cannot be written
 */
export async function appendRecords(path: string, provenance: Provenance, records: readonly object[]): Promise<void> {
  await makeFolder(dirname(path));
  const lines = records.map((record) => `${JSON.stringify({ ...record, ...provenance })}\n`);
  try {
    await appendFile(path, lines.join(""));
  } catch (error) {
    throw fileError(path, "append", error);
  }
}
