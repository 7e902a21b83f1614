// Trains the paper's 124M model (arXiv 2306.01160, section 4) once for each kind of attention, on the same tokens in the same
// order, and records the validation loss against tokens and time.
// Usage, in a built checkout or a packed folder, with tokens made as ../text/make.mjs says:
//   node experiments/language/run.mjs --data DATA [--device cuda] [--steps 2000] [--context 8192] [--tokens 32768] [--seed 1] [--out FILE] [RUN ...]
// Runs are independent: two GPUs take half of them each (CUDA_VISIBLE_DEVICES=1 node ...).
import { openDataset } from "../../dist/data/index.js";
import { modelPresets } from "../../dist/gpt/index.js";
import { chosenRuns, openExperiment, training } from "../training.mjs";

const hash16 = "hash(16, diagonal=false, balanced=true)";
const today = (attention, positions = "rope") => ({ attention, positions, sharedQK: false });
/** What differs from the paper's model, in which keys are the normalised queries and positions are learned. */
const { flags, runs } = chosenRuns({
  folder: import.meta.dirname,
  flags: { data: "data", steps: 2000, context: 8192, tokens: 32768, layers: 12, width: 768, seed: 1 },
  runs: {
    dense: { attention: "dense" },
    "hash 16 balanced": { attention: hash16 },
    "hash 16": { attention: "hash(16, diagonal=false)" },
    "window + hash": { attention: "window(256):6 hash(16, balanced=true):6" },
    "window + dense": { attention: "window(256):6 dense:6" },
    window: { attention: "window(256)" },
    "hash 8 balanced": { attention: "hash(8, diagonal=false, balanced=true)" },
    "hash 32 balanced": { attention: "hash(32, diagonal=false, balanced=true)" },
    "drop 30%": { attention: "drop(0.3)" },
    "drop 50%": { attention: "drop(0.5)" },
    "drop 70%": { attention: "drop(0.7)" },
    "window + hash layers": { attention: ["window(256)", "hash(16, balanced=true)"] },
    union: { attention: "union(window(256), hash(16, balanced=true))" },
    "window + hash fixed": { attention: "window(256):6 hash(16, balanced=true):6", rotations: "fixed" },
    "hash 16 fixed": { attention: hash16, rotations: "fixed" },
    "hash 16 diagonal": { attention: "hash(16, balanced=true)" },
    "hash 16 own keys": { attention: "hash(16, balanced=true)", sharedQK: false },
    "hash 16 RoPE": { attention: hash16, positions: "rope" },
    "dense own keys": { attention: "dense", sharedQK: false },
    "dense RoPE": { attention: "dense", positions: "rope" },
    "window RoPE": { attention: "window(256)", positions: "rope" },
    "window + dense RoPE": { attention: "window(256):6 dense:6", positions: "rope" },
    // Buckets go by content alone.
    "window + hash RoPE": { attention: "window(256):6 hash(16, balanced=true):6", positions: "rope-windows" },
    // As models are made today. Hashing heads have no positions, so that buckets go by content; or are turned by them all the same; or
    // their scores are, but not what is hashed.
    "dense RoPE own keys": today("dense"),
    "window RoPE own keys": today("window(256)"),
    "window + dense RoPE own keys": today("window(256):6 dense:6"),
    "window + hash RoPE own keys": today("window(256):6 hash(16):6", "rope-windows"),
    "window + hash balanced RoPE own keys": today("window(256):6 hash(16, balanced=true):6", "rope-windows"),
    "window + hash fixed RoPE own keys": { ...today("window(256):6 hash(16):6", "rope-windows"), rotations: "fixed" },
    "window + hash turned RoPE own keys": today("window(256):6 hash(16):6"),
    "window + hash balanced turned RoPE own keys": today("window(256):6 hash(16, balanced=true):6"),
    "window + hash scores RoPE own keys": today("window(256):6 hash(16):6", "rope-scores"),
    "window + hash balanced scores RoPE own keys": today("window(256):6 hash(16, balanced=true):6", "rope-scores"),
    "window + union turned RoPE own keys": today("window(256):6 union(window(256), hash(16)):6"),
    "window + union scores RoPE own keys": today("window(256):6 union(window(256), hash(16)):6", "rope-scores"),
    "9 windows + 3 hash scores RoPE own keys": today("window(256):9 hash(16):3", "rope-scores"),
  },
});
const { steps, context, tokens, layers, width, seed } = flags;
const batch = Math.max(1, Math.round(tokens / context));

const { device, record } = await openExperiment("language", flags);
const data = await openDataset(flags.data);
for (const [run, differs] of runs) {
  const model = { ...modelPresets["paper-124m"], context, layers, width, seed, ...differs };
  const train = { batch, steps, seed, clip: null, evalEvery: Math.max(1, Math.ceil(steps / 12)), evalBatches: 8 };
  for await (const { gpt, isLast, lossByPosition, ...measured } of training({ device, model, train, data })) {
    record({ run, ...differs, seed, context, batch, steps, ...measured, ...(isLast && { lossByPosition }) });
    const { step, valLoss, stepMs, visibleShare } = measured;
    const seen = `${(100 * visibleShare).toFixed(1)} % visible`;
    console.log(
      `${run}, step ${step}: perplexity ${Math.exp(valLoss).toFixed(2)}, ${stepMs.toFixed(1)} ms a step, ${seen}`,
    );
  }
}
await data.close();
device.dispose();
