import { DataError } from "../errors.ts";

/** Bytes that can be read at any place: a file, a Blob, memory. `name` is what errors call it. */
export interface ByteSource {
  readonly name: string;
  /** Length in bytes when the source was opened. */
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset`.
   * @throws DataError if they lie outside the source or can no longer be read
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** A byte source over memory; reads are copies, so that a caller may keep and change them. */
export function memorySource(bytes: Uint8Array, name: string): ByteSource {
  return {
    name,
    size: bytes.length,
    async read(offset, length) {
      checkRange({ name, size: bytes.length }, offset, length);
      return new Uint8Array(bytes.subarray(offset, offset + length));
    },
  };
}

/**
 * Refuses a read outside the source before anything is allocated for it.
 * @throws DataError
 */
export function checkRange(source: { name: string; size: number }, offset: number, length: number): void {
  if (!(Number.isSafeInteger(offset) && Number.isSafeInteger(length)) || offset < 0 || length < 0) {
    throw new DataError(source.name, `byte ${offset}`, `a read of ${length} bytes is no range of a file`);
  }
  if (offset + length > source.size) {
    throw new DataError(
      source.name,
      `byte ${offset}`,
      `${length} bytes are needed here, but the file ends at byte ${source.size}`,
      "The file is cut short; copy or make it again.",
    );
  }
}
