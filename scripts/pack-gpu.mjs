// Packs what a GPU host without a network, a compiler or Node needs to run scfa: the built package with its kernels, the
// modules that its commands import, the benchmarks beside PyTorch, and setup.sh, to be sourced there.
// Usage: npm run pack:gpu -- [DIR] [--node] [--vulkan] [--onnx FOLDER]     (default .carry/scfa; --node adds this machine's
//   Node, --vulkan what the WebGPU device needs besides NVIDIA's driver, from Debian, --onnx the peer of `scfa bench attention`
//   from a folder in which onnxruntime-node is installed)
//   on the host:  . DIR/setup.sh && scfa info
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Packages of one command that has no place on a GPU host: `demo` brings its own text. */
const leftOut = /^node_modules\/@stdlib\//;

/** Files of a package that are not for running it here. */
const idle = [
  /\.(d\.[cm]?ts|ts|map|md|cc|hh|inc|S|asm|def)$/,
  /\/(docs?|test|tests|example|examples|\.github)\//,
  /^node_modules\/koffi\/(vendor|lib|cnoke\.cjs)/,
  /^node_modules\/@koromix\/koffi-(?!linux-x64\/)/,
  /^node_modules\/@koromix\/koffi-linux-x64\/musl_x64\//,
  /^node_modules\/webgpu\/(build\/|dist\/(?!linux-x64\/)|node_modules\/)/,
  /^node_modules\/gpt-tokenizer\/(cjs|src|data)\//,
  // The library takes GPT-2's vocabulary alone.
  /^node_modules\/gpt-tokenizer\/esm\/bpeRanks\/(?!r50k_base)/,
  /^node_modules\/(vega|vega-lite|vega-[a-z]+)\/(build\/.*\.min\.js|bin\/)/,
  /^node_modules\/zod\/(src|v3|v4\/mini)\//,
  /^node_modules\/onnxruntime-node\/(lib|script|bin\/(?!napi-v\d+\/linux\/x64\/))/,
  /^node_modules\/onnxruntime-common\/(lib|dist\/(?!cjs\/))/,
];

/** What onnxruntime-node needs to run; its other dependencies are its installer's. */
const onnxPackages = ["onnxruntime-node", "onnxruntime-common"];

/** What lies in the folder as it is; bench/ for the runs beside PyTorch. */
const plain = [
  ...["dist", "examples", "experiments", "package.json", "LICENSE"],
  ...["profile_step.mjs", "same_losses.mjs", "cuda", "webgpu", "peers"].map((name) => `bench/${name}`),
];

/** Debian's packages of Vulkan's loader, and of the dispatch that NVIDIA's driver for Vulkan loads. */
const vulkanPackages = ["libvulkan1", "libegl1", "libglvnd0"];

const setup = `# Source this on the GPU host: unpacks what is packed, and puts node and scfa on the PATH.
scfa_home=$(cd "$(dirname "\${BASH_SOURCE[0]}")" && pwd)
scfa_unpack() { # FILE: to standard output
  if command -v xz > /dev/null; then xz -dc "$1"; else
    python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$1"
  fi
}
mkdir -p "$scfa_home/bin"
# Made beside and renamed, so that what was cut short is made again.
if [ -f "$scfa_home/node.xz" ] && [ ! -x "$scfa_home/bin/node" ]; then
  scfa_unpack "$scfa_home/node.xz" > "$scfa_home/bin/node.new" && chmod +x "$scfa_home/bin/node.new" &&
    mv "$scfa_home/bin/node.new" "$scfa_home/bin/node"
fi
scfa_folder() { # PACKED FOLDER
  [ ! -d "$scfa_home/$2" ] && rm -rf "$scfa_home/unpacking" && mkdir "$scfa_home/unpacking" &&
    scfa_unpack "$scfa_home/$1" | tar -xf - -C "$scfa_home/unpacking" &&
    mv "$scfa_home/unpacking/$2" "$scfa_home/$2" && rmdir "$scfa_home/unpacking"
}
scfa_folder modules.tar.xz node_modules || true
# A loader that the host has knows the host's drivers best.
if [ -f "$scfa_home/vulkan.tar.xz" ] && ! ldconfig -p 2> /dev/null | grep -q libvulkan.so.1; then
  scfa_folder vulkan.tar.xz vulkan || true
  export LD_LIBRARY_PATH="$scfa_home/vulkan\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
printf '#!/bin/sh\\nexec node "%s/dist/cli/main.js" "$@"\\n' "$scfa_home" > "$scfa_home/bin/scfa" &&
  chmod +x "$scfa_home/bin/scfa"
export PATH="$scfa_home/bin:$PATH"
command -v node > /dev/null || echo "setup.sh: there must be a Node, found none. Pack with --node." >&2
`;

/**
 * @param folder new, empty, or packed before
 * @param withNode whether to add this machine's Node
 * @param withVulkan whether to add Vulkan's loader; needs apt and a network
 * @param onnx folder whose node_modules hold onnxruntime-node, to be packed too
 * @param level how hard xz tries, 0 to 9
 * @returns a promise of the bytes of each part and of all
 */
export async function packGpu({ folder, withNode, withVulkan = false, onnx, level = 6 }) {
  if (!existsSync(join(root, "dist/cli/main.js")))
    throw new Error("pack-gpu: dist/ must be built, found none. Run npm run setup.");
  // Nothing is removed that this script did not make.
  if (existsSync(folder) && readdirSync(folder).length > 0 && !existsSync(join(folder, "modules.tar.xz"))) {
    throw new Error(`pack-gpu: DIR must be new, empty or packed before, got ${folder}. Name another.`);
  }
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const path of plain) {
    const isWanted = (from) => !/\.d\.ts$|__pycache__|experiments\/.*\.(jsonl|svg)$/.test(from);
    cpSync(join(root, path), join(folder, path), { recursive: true, filter: isWanted });
  }
  writeFileSync(join(folder, "modules.tar.xz"), packModules(onnx, level));
  if (withNode) writeFileSync(join(folder, "node.xz"), xz(readFileSync(process.execPath), level));
  if (withVulkan) writeFileSync(join(folder, "vulkan.tar.xz"), packVulkan(level));
  writeFileSync(join(folder, "setup.sh"), setup);
  // Not before: where there is no build, the error above says so.
  const { sourceCommit } = await import("../dist/cli/machine.js");
  const commit = sourceCommit();
  // Read by the commands that record what they measured: there is no checkout on the host.
  if (commit) writeFileSync(join(folder, "commit"), `${commit}\n`);
  return sizes(folder);
}

/** The modules of package.json's dependencies, and theirs, as the lock file says; and the peer's. */
function packModules(onnx, level) {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  const wanted = Object.entries(packages).filter(
    ([path, { dev, devOptional, link }]) => path.startsWith("node_modules/") && !link && !dev && !devOptional,
  );
  const found = wanted.filter(([path]) => !leftOut.test(path) && existsSync(join(root, path)));
  const paths = found.map(([path]) => path);
  return withScratch((scratch) => {
    const listOf = (name, from, folders) => {
      const files = folders.flatMap((folder) => filesOf(from, folder));
      const list = join(scratch, name);
      writeFileSync(list, [...new Set(files.filter((file) => !idle.some((it) => it.test(file))))].sort().join("\n"));
      return ["-C", from, "-T", list];
    };
    const ofPeer = onnx ? listOf("onnx", resolve(onnx), peerFolders(onnx)) : [];
    return xz(tar([...listOf("modules", root, paths), ...ofPeer]), level);
  });
}

/** Folders of the peer's packages. */
function peerFolders(onnx) {
  const folders = onnxPackages.map((name) => `node_modules/${name}`);
  const missing = folders.find((folder) => !existsSync(join(onnx, folder)));
  if (missing) {
    throw new Error(
      `pack-gpu: --onnx is a folder where onnxruntime-node is installed, got ${onnx} without ${missing}.`,
    );
  }
  return folders;
}

/** The libraries of Debian's packages, by the names under which programs ask for them, in a folder `vulkan`. */
function packVulkan(level) {
  return withScratch((scratch) => {
    const [lists, target] = [join(scratch, "lists"), join(scratch, "vulkan")];
    for (const path of [join(lists, "partial"), target]) mkdirSync(path, { recursive: true });
    // With lists of its own it needs no rights.
    const apt = (...args) =>
      execFileSync("apt-get", ["-qq", `-oDir::State::Lists=${lists}`, ...args], { cwd: scratch, stdio: "pipe" });
    apt("update");
    apt("download", ...vulkanPackages);
    for (const name of readdirSync(scratch).filter((name) => name.endsWith(".deb"))) {
      execFileSync("dpkg-deb", ["-x", join(scratch, name), join(scratch, "root")]);
    }
    for (const path of readdirSync(join(scratch, "root"), { recursive: true })) {
      if (/\.so\.\d$/.test(path)) copyFileSync(join(scratch, "root", path), join(target, basename(path)));
    }
    return xz(tar(["-C", scratch, "vulkan"]), level);
  });
}

function withScratch(use) {
  const scratch = mkdtempSync(join(tmpdir(), "scfa-pack-"));
  try {
    return use(scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function tar(args) {
  const same = ["--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"];
  return execFileSync("tar", ["-cf", "-", ...same, ...args], { maxBuffer: 2 ** 30 });
}

/** A package's own files; packages nested in it have an entry of their own in the lock file. */
function filesOf(from, path) {
  return readdirSync(join(from, path), { withFileTypes: true }).flatMap((entry) => {
    const inner = `${path}/${entry.name}`;
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : filesOf(from, inner);
    return entry.isFile() ? [inner] : [];
  });
}

function xz(input, level) {
  const { status, stdout, stderr, error } = spawnSync("xz", ["-c", `-${level}`, "-T0"], { input, maxBuffer: 2 ** 30 });
  if (error || status !== 0)
    throw new Error(`pack-gpu: xz must run, got ${error?.message ?? stderr}. Install xz-utils.`);
  return stdout;
}

function sizes(folder) {
  const bytesOf = (path) => {
    const stat = statSync(path);
    if (!stat.isDirectory()) return stat.size;
    return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0);
  };
  const parts = readdirSync(folder).map((name) => ({ name, bytes: bytesOf(join(folder, name)) }));
  return { parts, bytes: parts.reduce((sum, part) => sum + part.bytes, 0) };
}

if (process.argv[1] && fileURLToPath(import.meta.url) === resolve(process.argv[1])) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { node: { type: "boolean" }, vulkan: { type: "boolean" }, onnx: { type: "string" } },
  });
  const folder = resolve(positionals[0] ?? join(root, ".carry/scfa"));
  const { parts, bytes } = await packGpu({
    folder,
    withNode: values.node,
    withVulkan: values.vulkan,
    onnx: values.onnx,
  });
  const mib = (n) => `${(n / 2 ** 20).toFixed(2)} MiB`;
  for (const part of parts) console.log(`${mib(part.bytes).padStart(10)}  ${part.name}`);
  console.log(`${mib(bytes).padStart(10)}  ${folder}`);
}
