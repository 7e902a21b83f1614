import { existsSync } from "node:fs";
import { join } from "node:path";
import type { LibraryHandle } from "koffi";
import { UnsupportedError } from "../errors.ts";

/** A shared library that was found: its functions and where it came from. */
export interface Library {
  readonly handle: LibraryHandle;
  /** The file, or the bare name where the system's loader found it. */
  readonly path: string;
}

/** What calls libraries of the system. */
export type Koffi = typeof import("koffi");

/** What is needed, under which file names it goes, and what to do if it is not there. */
export interface WantedLibrary {
  readonly what: string;
  /** The best first. */
  readonly names: readonly string[];
  /** Where to look before the system's loader does. */
  readonly folders?: readonly string[];
  readonly fix: string;
}

/** @throws UnsupportedError if koffi has no binary for this platform */
export async function loadKoffi(): Promise<Koffi> {
  try {
    return (await import("koffi")).default as unknown as Koffi;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new UnsupportedError("openDevice", "koffi must load, which calls libraries of the system", `"${reason}"`);
  }
}

/** @throws UnsupportedError if none of the names loads */
export function findLibrary(koffi: Koffi, { what, names, folders = [], fix }: WantedLibrary): Library {
  const candidates = [
    ...folders.flatMap((folder) => names.map((name) => join(folder, name))).filter((path) => existsSync(path)),
    ...names,
  ];
  for (const path of candidates) {
    try {
      return { handle: koffi.load(path), path };
    } catch {
      // The next place may have it.
    }
  }
  throw new UnsupportedError("openDevice", `${what} must be there`, `no ${names[0]} here`, fix);
}
