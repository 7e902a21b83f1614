// Makes the file that ./run.mjs was run on: every third document of the text of ../text/make.mjs, one after another, until there
// are 64 million bytes. (enwik8 itself, which ./run.mjs takes as it is, is in no package that can be had by a package manager.)
// Usage: node experiments/bytes/make.mjs TEXT.jsonl OUT
import { closeSync, createReadStream, openSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";

const [text, out] = process.argv.slice(2);
if (!text || !out) {
  console.error("make.mjs needs two files: node experiments/bytes/make.mjs TEXT.jsonl OUT");
  process.exit(2);
}
const enough = 64e6;
const file = openSync(out, "w");
let [documents, bytes] = [0, 0];
for await (const line of createInterface({ input: createReadStream(text) })) {
  if (documents++ % 3 !== 0) continue;
  bytes += writeSync(file, Buffer.from(JSON.parse(line).text));
  if (bytes >= enough) break;
}
closeSync(file);
console.log(`${out}: ${bytes} bytes`);
