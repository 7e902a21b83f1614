// Makes the file that ./run.mjs was run on: the text of the first 24 million tokens that the language experiment learns from.
// enwik8 itself, which ./run.mjs takes as it is, is in no package that a package manager has.
// Usage: node experiments/bytes/make.mjs DATA OUT
import { closeSync, openSync, writeSync } from "node:fs";
import { getTokenizer, openTokens } from "../../dist/data/index.js";

const [data, out] = process.argv.slice(2);
if (!data || !out) {
  console.error("make.mjs needs a folder of tokens and a file: node experiments/bytes/make.mjs DATA OUT");
  process.exit(2);
}
const tokens = await openTokens(data);
const count = Math.min(24e6, tokens.count);
const atOnce = 1e6;
const file = openSync(out, "w");
let bytes = 0;
for (let at = 0; at < count; at += atOnce) {
  const some = await tokens.read(at, Math.min(atOnce, count - at));
  bytes += writeSync(file, getTokenizer(tokens.tokenizer).decodeBytes(some));
}
closeSync(file);
await tokens.close();
console.log(`${out}: ${bytes} bytes`);
