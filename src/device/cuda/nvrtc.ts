import { KernelCompileError } from "../../errors.ts";
import { loadKoffi } from "../nativeLibraries.ts";
import { findNvrtc } from "./libraries.ts";

/** A kernel's text and what it is compiled for. */
export interface Program {
  /** For messages: `attention_forward.cu`. */
  readonly name: string;
  readonly source: string;
  /** Text of each file that may be included, by name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly defines: Readonly<Record<string, number>>;
  /** Value of `--gpu-architecture`: `sm_80`, `sm_90a`, `compute_90`. */
  readonly architecture: string;
}

/** NVIDIA's run-time compiler, or what stands in for it in tests. */
export interface Compiler {
  readonly path: string;
  /** For example `13.0`. */
  readonly version: string;
  /** Architectures that it makes machine code for, as numbers: 80 for sm_80. */
  readonly architectures: readonly number[];
  /** Machine code (a cubin), or PTX for a `compute_` architecture. @throws KernelCompileError */
  compile(program: Program): Uint8Array;
}

const prototypes = {
  version: "int nvrtcVersion(_Out_ int *major, _Out_ int *minor)",
  countArchs: "int nvrtcGetNumSupportedArchs(_Out_ int *count)",
  archs: "int nvrtcGetSupportedArchs(void *archs)",
  create:
    "int nvrtcCreateProgram(void *program, const char *source, const char *name, int headerCount, const char **headers, const char **names)",
  destroy: "int nvrtcDestroyProgram(void *program)",
  compile: "int nvrtcCompileProgram(uint64_t program, int optionCount, const char **options)",
  logSize: "int nvrtcGetProgramLogSize(uint64_t program, void *bytes)",
  log: "int nvrtcGetProgramLog(uint64_t program, void *log)",
  cubinSize: "int nvrtcGetCUBINSize(uint64_t program, void *bytes)",
  cubin: "int nvrtcGetCUBIN(uint64_t program, void *code)",
  ptxSize: "int nvrtcGetPTXSize(uint64_t program, void *bytes)",
  ptx: "int nvrtcGetPTX(uint64_t program, void *code)",
} as const;

/** Loads NVRTC. @throws UnsupportedError if it is not there */
export async function loadNvrtc(): Promise<Compiler> {
  const koffi = await loadKoffi();
  const { handle, path } = findNvrtc(koffi);
  const entries = Object.entries(prototypes).map(([name, prototype]) => [name, handle.func(prototype)]);
  const nvrtc: Record<keyof typeof prototypes, (...args: unknown[]) => number> = Object.fromEntries(entries);
  const [major, minor, count]: [number[], number[], number[]] = [[0], [0], [0]];
  nvrtc.version(major, minor);
  nvrtc.countArchs(count);
  const architectures = new Int32Array(count[0]!);
  nvrtc.archs(architectures);

  /** What a pair of calls gives: its size, then its bytes. */
  const fetch = (size: typeof nvrtc.log, get: typeof nvrtc.log, program: bigint): Uint8Array => {
    const bytes = new BigUint64Array(1);
    size(program, bytes);
    const data = new Uint8Array(Number(bytes[0]));
    if (data.length > 0) get(program, data);
    return data;
  };
  return {
    path,
    version: `${major[0]}.${minor[0]}`,
    architectures: [...architectures],
    compile({ name, source, headers, defines, architecture }) {
      const at = new BigUint64Array(1);
      const texts = Object.values(headers);
      nvrtc.create(at, source, name, texts.length, texts, Object.keys(headers));
      const program = at[0]!;
      try {
        const constants = Object.entries(defines).map(([key, value]) => `-D${key}=${value}`);
        const options = [`--gpu-architecture=${architecture}`, "--std=c++17", "--diag-suppress=177", ...constants];
        const code = nvrtc.compile(program, options.length, options);
        if (code !== 0) {
          const log = new TextDecoder().decode(fetch(nvrtc.logSize, nvrtc.log, program)).replace(/\0.*$/s, "");
          throw new KernelCompileError([name, ...constants].join(" "), log.trim(), numbered(source));
        }
        const isPtx = architecture.startsWith("compute_");
        return fetch(isPtx ? nvrtc.ptxSize : nvrtc.cubinSize, isPtx ? nvrtc.ptx : nvrtc.cubin, program);
      } finally {
        nvrtc.destroy(at);
      }
    },
  };
}

function numbered(source: string): string {
  return source
    .split("\n")
    .map((line, n) => `${String(n + 1).padStart(4)}  ${line}`)
    .join("\n");
}
