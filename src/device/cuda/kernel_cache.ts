import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Compiler, Program } from "./nvrtc.ts";

/** Where compiled kernels are kept: `SCFA_CACHE`, else the user's cache folder. */
function cacheFolder(): string {
  return process.env.SCFA_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "scfa", "kernels");
}

const sourceFolder = fileURLToPath(new URL(".", import.meta.url));

/** The text of a kernel file of this folder, with the headers that it may include. */
export function readProgram(file: string): Pick<Program, "name" | "source" | "headers"> {
  const name = `${file}.cu`;
  headers ??= Object.fromEntries(
    readdirSync(sourceFolder)
      .filter((entry) => entry.endsWith(".cuh"))
      .map((entry) => [entry, readFileSync(join(sourceFolder, entry), "utf8")]),
  );
  return { name, source: readFileSync(join(sourceFolder, name), "utf8"), headers };
}

let headers: Record<string, string> | undefined;

/**
 * Compiled kernels on disk, by a hash of everything that their code depends on. A folder that cannot be written to
 * costs time at the next start, nothing else.
 */
export class KernelCache {
  constructor(
    private readonly compiler: Compiler,
    readonly folder: string = cacheFolder(),
  ) {}

  /** Code of a program: from the disk, or compiled now and kept. @throws KernelCompileError */
  code(program: Program): Uint8Array {
    const path = this.#path(program);
    try {
      return readFileSync(path);
    } catch {
      return this.#compile(program, path);
    }
  }

  /** Compiles a program whose kept code the driver refused. */
  codeAnew(program: Program): Uint8Array {
    const path = this.#path(program);
    rmSync(path, { force: true });
    return this.#compile(program, path);
  }

  #compile(program: Program, path: string): Uint8Array {
    const code = this.compiler.compile(program);
    try {
      mkdirSync(this.folder, { recursive: true });
      const temporary = `${path}.${process.pid}`;
      writeFileSync(temporary, code);
      renameSync(temporary, path);
    } catch {
      // Read-only or full: compile again next time.
    }
    return code;
  }

  #path({ name, source, headers, defines, architecture }: Program): string {
    const facts = [this.compiler.version, architecture, name, source, headers, Object.entries(defines).sort()];
    const hash = createHash("sha256").update(JSON.stringify(facts)).digest("hex").slice(0, 32);
    return join(this.folder, `${name.replace(/\.cu$/, "")}-${hash}.cubin`);
  }
}
