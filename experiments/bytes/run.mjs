// Bytes as tokens: trains a small model on any one file once for each kind of attention and records bits a byte. As is usual for
// enwik8, the first 90% are learned from and the next 5% are tested on; the last 5% are left alone.
// Usage, in a built checkout or a packed folder:
//   node experiments/bytes/run.mjs --text FILE [--device cuda] [--steps 2000] [--context 4096] [--out FILE] [RUN ...]
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { Tokens } from "../../dist/data/index.js";
import { chosenRuns, openExperiment, training } from "../training.mjs";

const { flags, runs } = chosenRuns({
  folder: import.meta.dirname,
  flags: { text: "enwik8", steps: 2000, context: 4096, tokens: 32768, layers: 6, width: 512 },
  runs: {
    dense: { attention: "dense" },
    "hash 16": { attention: "hash(16, diagonal=false)" },
    "hash 16 balanced": { attention: "hash(16, diagonal=false, balanced=true)" },
    "window + hash": { attention: "window(128):4 hash(16, balanced=true):4" },
    "window + dense": { attention: "window(128):4 dense:4" },
    window: { attention: "window(128)" },
  },
});
const { steps, context, tokens, layers, width } = flags;
const batch = Math.max(1, Math.round(tokens / context));
const bytes = readFileSync(flags.text);
const data = { train: part(0, 0.9), validation: part(0.9, 0.95) };

const { device, record } = await openExperiment("bytes", flags);
for (const [run, differs] of runs) {
  const model = { layers, heads: 8, width, vocabulary: 256, context, sharedQK: true, ...differs };
  const train = { batch, steps, evalEvery: Math.max(1, Math.round(steps / 10)), evalBatches: 16 };
  for await (const { gpt, lossByPosition, isLast, ...measured } of training({ device, model, train, data })) {
    const bitsPerByte = measured.valLoss / Math.LN2;
    record({
      run,
      ...differs,
      layers,
      width,
      text: basename(flags.text),
      bytes: bytes.length,
      context,
      batch,
      steps,
      ...measured,
      bitsPerByte,
    });
    console.log(
      `${run}, step ${measured.step}: ${bitsPerByte.toFixed(3)} bits a byte, ${measured.stepMs.toFixed(1)} ms a step`,
    );
  }
}
device.dispose();

/** A part of the file, from and to a share of it, as tokens: two bytes each where they are read. */
function part(from, to) {
  const own = bytes.subarray(Math.floor(from * bytes.length), Math.floor(to * bytes.length));
  const read = async (start, count) =>
    new Uint8Array(Uint16Array.from(own.subarray(start / 2, (start + count) / 2)).buffer);
  return new Tokens({ name: flags.text, size: 2 * own.length, read }, { tokenizer: "bytes", vocabularySize: 256 });
}
