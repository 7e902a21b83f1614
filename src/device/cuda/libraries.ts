import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { findLibrary, type Koffi, type Library } from "../nativeLibraries.ts";

/** What is needed, under which names it goes, and what to do if it is not there. */
interface Wanted {
  readonly what: string;
  /** Without extension or version: `cuda`, `nvrtc`, `cublasLt`. */
  readonly stem: string;
  readonly versions: readonly string[];
  readonly fix: string;
}

const driverLibrary: Wanted = {
  what: "the NVIDIA driver",
  stem: "cuda",
  versions: ["1"],
  fix: "Install the NVIDIA driver (550 or later), or start the container with its GPUs.",
};
const toolkitFix =
  "Install CUDA 12.4 or later, or its libraries alone: pip install nvidia-cuda-nvrtc nvidia-cublas. Then set CUDA_HOME, or put the python3 that has them on the PATH.";
const nvrtcLibrary: Wanted = {
  what: "NVRTC, which compiles the kernels,",
  stem: "nvrtc",
  versions: ["13", "12"],
  fix: toolkitFix,
};
const cublasLibrary: Wanted = {
  what: "cuBLASLt, which multiplies matrices,",
  stem: "cublasLt",
  versions: ["13", "12"],
  fix: toolkitFix,
};

/** libcuda, which comes with the driver. @throws UnsupportedError */
export function findDriver(koffi: Koffi): Library {
  return find(koffi, driverLibrary, ["/usr/local/nvidia/lib64", "/usr/lib/wsl/lib"]);
}

/** @throws UnsupportedError */
export function findNvrtc(koffi: Koffi): Library {
  return find(koffi, nvrtcLibrary, toolkitFolders());
}

/** @throws UnsupportedError */
export function findCublasLt(koffi: Koffi): Library {
  return find(koffi, cublasLibrary, toolkitFolders());
}

function find(koffi: Koffi, { what, stem, versions, fix }: Wanted, folders: readonly string[]): Library {
  const names =
    process.platform === "win32"
      ? [stem === "cuda" ? "nvcuda.dll" : "", ...versions.map((v) => `${stem}64_${v}.dll`)].filter(Boolean)
      : [...versions.map((v) => `lib${stem}.so.${v}`), `lib${stem}.so`];
  return findLibrary(koffi, { what, names, folders, fix });
}

/** Where CUDA's own libraries may lie, besides the loader's path; the most explicit first. */
function toolkitFolders(): string[] {
  const homes = [process.env.CUDA_HOME, process.env.CUDA_PATH, "/usr/local/cuda"].filter((home) => home !== undefined);
  const installed = homes.flatMap((home) => [join(home, "lib64"), join(home, "lib"), join(home, "bin")]);
  return [...installed, ...pythonFolders()];
}

let knownPythonFolders: string[] | undefined;

/** The library folders of the `nvidia` packages of the python3 on the PATH: nvidia/cu13/lib, nvidia/cublas/lib, ... */
function pythonFolders(): string[] {
  if (knownPythonFolders) return knownPythonFolders;
  try {
    const script = "import nvidia; print(*nvidia.__path__, sep='\\n')";
    const stdout = execFileSync("python3", ["-c", script], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      timeout: 10_000,
    });
    const roots = stdout.split("\n").filter(Boolean);
    knownPythonFolders = roots.flatMap((root) => readdirSync(root).map((name) => join(root, name, "lib")));
  } catch {
    knownPythonFolders = [];
  }
  return knownPythonFolders;
}
