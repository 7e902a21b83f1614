// Images pixel by pixel: trains a small model on 28 x 28 images of 256 greys, row after row from the upper left, once for each
// kind of attention, and records bits a dimension (pixel) over images that it has not seen.
// Usage, in a built checkout or a packed folder; FOLDER holds idx files as MNIST and Fashion-MNIST have them, zipped or not. On Debian:
//   apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb data     (data/usr/share/datasets/fashion-mnist)
//   node experiments/images/run.mjs --images FOLDER [--device cuda] [--steps 2000] [--out FILE] [RUN ...]
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { uniformAt } from "../../dist/rng.js";
import { chosenRuns, openExperiment, training } from "../training.mjs";

const { flags, runs } = chosenRuns({
  folder: import.meta.dirname,
  flags: {
    images: "fashion-mnist",
    steps: 2000,
    batch: 32,
    layers: 6,
    width: 256,
    count: 60000,
    tests: 1024,
  },
  runs: {
    dense: { attention: "dense" },
    "hash 8": { attention: "hash(8, diagonal=false)" },
    "hash 8 balanced": { attention: "hash(8, diagonal=false, balanced=true)" },
    "window + hash": { attention: "window(64):2 hash(8, balanced=true):2" },
    "window + dense": { attention: "window(64):2 dense:2" },
    window: { attention: "window(64)" },
  },
});
const { steps, batch, layers, width, count, tests } = flags;
const pixels = 28 * 28;
/** Stands before the first pixel. */
const begin = 256;

const data = { train: readImages("train", count), validation: readImages("t10k", tests) };
const { device, record } = await openExperiment("images", flags);
for (const [run, differs] of runs) {
  const model = { layers, heads: 4, width, vocabulary: 257, context: pixels, sharedQK: true, ...differs };
  const train = { batch, steps, evalEvery: Math.max(1, Math.round(steps / 10)), evalBatches: Math.ceil(tests / batch) };
  for await (const { gpt, lossByPosition, isLast, ...measured } of training({ device, model, train, data })) {
    const bitsPerDim = measured.valLoss / Math.LN2;
    record({ run, ...differs, layers, width, images: basename(flags.images), batch, steps, ...measured, bitsPerDim });
    console.log(
      `${run}, step ${measured.step}: ${bitsPerDim.toFixed(3)} bits a dimension, ${measured.stepMs.toFixed(1)} ms a step`,
    );
  }
}
device.dispose();

/** The first `most` images of an idx file as a token source: a sequence is one image. */
function readImages(name, most) {
  const path = join(flags.images, `${name}-images-idx3-ubyte`);
  const bytes = existsSync(path) ? readFileSync(path) : gunzipSync(readFileSync(`${path}.gz`));
  const [magic, images, rows, columns] = [0, 4, 8, 12].map((at) => bytes.readUInt32BE(at));
  if (magic !== 0x803 || rows * columns !== pixels) {
    throw new Error(`run.mjs: an idx file of images of 28 x 28 bytes is needed, got ${path} of ${rows} x ${columns}.`);
  }
  const available = Math.min(most, images);
  const batchOf = (chosen) => {
    const targets = new Int32Array(chosen.length * pixels);
    const tokens = new Int32Array(targets.length);
    for (const [b, image] of chosen.entries()) {
      const own = bytes.subarray(16 + image * pixels, 16 + (image + 1) * pixels);
      targets.set(own, b * pixels);
      tokens.set([begin], b * pixels);
      tokens.set(own.subarray(0, pixels - 1), b * pixels + 1);
    }
    return { tokens, targets };
  };
  const rowsFrom = (first, n, imageOf) => batchOf(Array.from({ length: n }, (_, b) => imageOf(first + b)));
  return {
    name: path,
    vocabularySize: 257,
    windows: () => available,
    sample: async ({ B, seed, step, firstRow = 0 }) =>
      rowsFrom(firstRow, B, (row) => Math.floor(available * uniformAt(seed, step, row))),
    sequential: async ({ B, index }) => rowsFrom(index * B, Math.min(B, available - index * B), (image) => image),
  };
}
