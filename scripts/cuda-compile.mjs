// Compiles the CUDA kernels to cubins with nvcc, as NVRTC does on a user's machine, and prints registers and spills.
// Usage: node scripts/cuda-compile.mjs --check              representative builds; fails on errors, lost performance, spills
//        node scripts/cuda-compile.mjs OUT [PATTERN]        every build whose name the pattern matches, into OUT
// MMA_ARCH=90 makes the mma family for sm_90 in place of sm_80: a cubin runs on its own major version alone.
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { cudaBuilds } from "./cuda-builds.mjs";

const sources = resolve(dirname(fileURLToPath(import.meta.url)), "../src/device/cuda");
const mmaArch = process.env.MMA_ARCH ?? "80";

/** Compiles one build; never rejects. */
function compile(build, out) {
  const arch = build.arch === "mma" ? mmaArch : build.arch;
  const args = ["-cubin", "-std=c++17", "-diag-suppress", "177", "-Xptxas", "-v"];
  args.push("-gencode", `arch=compute_${arch},code=sm_${arch}`);
  args.push(...Object.entries(build.defines).map(([name, value]) => `-D${name}=${value}`));
  args.push(join(sources, `${build.file}.cu`), "-o", join(out, `${build.name}.cubin`));
  return new Promise((resolve) => {
    execFile("nvcc", args, { encoding: "utf8", maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      const log = `${stdout}${stderr}`;
      resolve({ build, log, command: `nvcc ${args.join(" ")}`, failed: error !== null, entries: readEntries(log) });
    });
  });
}

/** Registers and spill stores of each kernel, from what ptxas says. */
function readEntries(log) {
  const entries = [];
  for (const line of log.split("\n")) {
    const name = /Compiling entry function '(\w+)'/.exec(line)?.[1];
    if (name) entries.push({ name, spilt: 0, registers: 0 });
    const entry = entries.at(-1);
    if (!entry) continue;
    entry.spilt = Number(/(\d+) bytes spill stores/.exec(line)?.[1] ?? entry.spilt);
    entry.registers = Number(/Used (\d+) registers/.exec(line)?.[1] ?? entry.registers);
  }
  return entries;
}

/** What is wrong with a compiled build, in sentences. */
function faults({ build, log, failed, entries, command }) {
  if (failed) return [`does not compile.\n${command}\n${log.trim()}`];
  const lines = log.split("\n").filter((line) => /C75\d\d|warning/.test(line));
  if (entries.length === 0) lines.push("no kernel is in it.");
  for (const { name, spilt } of build.mayNotSpill ? entries : []) {
    const known = build.spills?.[name] ?? 0;
    if (spilt > known)
      lines.push(`${name} may spill ${known} bytes, got ${spilt}. Explain it in src/device/cuda/LOG.md.`);
  }
  return lines;
}

/** What the list of builds and the kernel files owe each other. */
function listFaults(builds) {
  const files = readdirSync(sources).filter((name) => /\.cuh?$/.test(name));
  const checked = new Set(builds.filter(({ check }) => check).map(({ file }) => `${file}.cu`));
  const unlisted = files.filter((name) => name.endsWith(".cu") && !checked.has(name));
  // NVRTC on a user's machine has no folder of headers; nvcc here would find them.
  const including = files.filter((name) => /^\s*#\s*include\s*</m.test(readFileSync(join(sources, name), "utf8")));
  return [
    ...unlisted.map(
      (name) => `${name}: every kernel file has a build that is checked, got none. Add it to scripts/cuda-builds.mjs.`,
    ),
    ...including.map(
      (name) => `${name}: kernels include no system header, got one. Declare what it needs in common.cuh.`,
    ),
  ];
}

async function compileAll(builds, out, show) {
  const results = [];
  const waiting = [...builds];
  const worker = async () => {
    for (let build = waiting.shift(); build; build = waiting.shift()) {
      const result = await compile(build, out);
      results.push(result);
      show(result);
    }
  };
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, worker));
  return results;
}

function show(result) {
  for (const { name, registers, spilt } of result.entries) {
    console.log(`${result.build.name}: ${name}, ${registers} registers, ${spilt} spilled`);
  }
}

async function check() {
  if (spawnSync("nvcc", ["--version"]).error) {
    console.log("CUDA kernels: skipped, there is no nvcc on the PATH (of CUDA 13) to compile them with");
    process.exit(0);
  }
  const all = cudaBuilds();
  const builds = all.filter((build) => build.check);
  const out = mkdtempSync(join(tmpdir(), "scfa-cubins-"));
  try {
    const results = await compileAll(builds, out, show);
    const wrong = results.flatMap((result) => faults(result).map((fault) => `${result.build.name}: ${fault}`));
    return [...listFaults(all), ...wrong];
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

async function build([out, pattern = "."]) {
  mkdirSync(out, { recursive: true });
  const wanted = new RegExp(pattern);
  const builds = cudaBuilds().filter(({ name }) => wanted.test(name));
  const results = await compileAll(builds, out, (result) => {
    show(result);
    for (const line of result.log.split("\n").filter((line) => /C75\d\d|error|warning/.test(line))) {
      console.log(`${result.build.name}: ${line}`);
    }
  });
  return results.filter(({ failed }) => failed).map((result) => `${result.build.name}: does not compile`);
}

const start = performance.now();
const args = process.argv.slice(2);
if (args.length === 0) throw new Error("cuda-compile: --check or OUT must be given, got nothing.");
const found = args[0] === "--check" ? await check() : await build(args);
for (const fault of found) console.error(fault);
console.log(
  `${found.length === 0 ? "CUDA kernels: ok" : `CUDA kernels: ${found.length} faults`} (${Math.round((performance.now() - start) / 1000)} s)`,
);
process.exit(found.length === 0 ? 0 : 1);
