// Makes the text that the language experiments train on, from three packages of Debian 12: the parts of Linux 6.1's source
// and documentation that are read most, a dictionary, and essays. One JSON line is one document: the files of one
// folder, in order of their names, or one book; so that documents are longer than the contexts that are trained on.
// Usage, on a Debian with apt: node experiments/text/make.mjs OUT.jsonl
//   then: scfa prepare OUT.jsonl --out DATA --tokenizer gpt2 --split document --validation-share 0.02
import { execFileSync } from "node:child_process";
import { createWriteStream, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { finished } from "node:stream/promises";
import { gunzipSync } from "node:zlib";

const packages = ["linux-source-6.1", "dict-gcide", "anarchism"];
const sourceFolders = [
  ...["kernel", "mm", "fs", "net", "lib", "block", "security", "crypto", "include/linux", "ipc", "init"],
  ...["arch/x86/kernel", "arch/x86/kvm", "arch/x86/mm", "drivers/base", "drivers/pci", "drivers/usb/core"],
  ...["drivers/nvme", "drivers/virtio", "sound/core", "tools/lib", "virt", "Documentation"],
];
const isText = /\.(c|h|S|rst|txt|py|sh)$/;
/** A document of a folder ends once it is this long, in characters; the next begins. */
const documentLength = 2 ** 20;
/** Of the dictionary; all of it would be a sixth of the text. */
const dictionaryLength = 16 * documentLength;

const out = process.argv[2];
if (!out) {
  console.error("make.mjs needs a file to write: node experiments/text/make.mjs OUT.jsonl");
  process.exit(2);
}
const work = mkdtempSync(join(tmpdir(), "scfa-text-"));
const run = (command, ...args) => execFileSync(command, args, { cwd: work, stdio: ["ignore", "ignore", "inherit"] });
run("apt-get", "download", "-q", ...packages);
for (const name of readdirSync(work).filter((name) => name.endsWith(".deb"))) run("dpkg", "-x", name, "root");
run("tar", "-xf", "root/usr/src/linux-source-6.1.tar.xz");

const stream = createWriteStream(resolve(out));
let [documents, characters] = [0, 0];
const write = (source, text) => {
  documents++;
  characters += text.length;
  stream.write(`${JSON.stringify({ source, text })}\n`);
};

const linux = join(work, "linux-source-6.1");
const files = sourceFolders.flatMap((folder) => filesOf(join(linux, folder)));
const folders = new Map(files.map((path) => [dirname(path), []]));
for (const path of files) folders.get(dirname(path)).push(path);
for (const [folder, own] of folders) {
  let text = "";
  for (const path of own) {
    text += `/* ${relative(linux, path)} */\n${readFileSync(path, "utf8")}\n`;
    if (text.length < documentLength) continue;
    write(relative(linux, folder), text);
    text = "";
  }
  if (text) write(relative(linux, folder), text);
}
const dictionary = gunzipSync(readFileSync(join(work, "root/usr/share/dictd/gcide.dict.dz"))).toString("utf8");
for (let at = 0; at < dictionaryLength; at += documentLength) write("gcide", dictionary.slice(at, at + documentLength));
for (const path of filesOf(join(work, "root/usr/share/doc/anarchism/markdown"), /\.(md|txt)(\.gz)?$/)) {
  const bytes = readFileSync(path);
  write("anarchism", (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8"));
}
stream.end();
await finished(stream);
rmSync(work, { recursive: true });
console.log(`${out}: ${documents} documents, ${characters} characters`);

/** Files below a folder whose names say that they are text, in order of their paths. */
function filesOf(folder, pattern = isText) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}
