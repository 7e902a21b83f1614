/**
 * The program of the process in which onnxruntime-node computes on a GPU, for gpuPeer.ts: it brings a Dawn of its own,
 * and there may be one in a process. Plain JavaScript, so that it runs from src/ too. It answers one message at a time.
 */
import { createRequire } from "node:module";

const state = { feeds: {} };

/**
 * @param entry file of onnxruntime-node
 * @param models ONNX: `upload` and `download` cast x to y, `attention` makes `output` of its feeds, `mark` casts one number
 */
async function open({ entry, models }) {
  const runtime = createRequire(entry)(entry);
  const session = (model, preferredOutputLocation) =>
    runtime.InferenceSession.create(model, {
      executionProviders: ["webgpu"],
      preferredOutputLocation,
      // What the GPU cannot do is an error instead of being done by the CPU; and no cast is left out as needless.
      extra: { session: { disable_cpu_ep_fallback: "1" } },
      graphOptimizationLevel: "disabled",
      logSeverityLevel: 3,
    });
  state.runtime = runtime;
  state.upload = await session(models.upload, "gpu-buffer");
  state.attention = await session(models.attention, "gpu-buffer");
  state.download = await session(models.download, "cpu");
  state.mark = await session(models.mark, "cpu");
}

/** Puts an input on the GPU. */
async function put({ name, values, shape }) {
  const x = new state.runtime.Tensor("float32", values, shape);
  state.feeds[name] = (await state.upload.run({ x })).y;
}

/** Returns when all that was enqueued has run: a number that passes through the GPU comes behind it. */
async function wait() {
  await state.mark.run({ x: new state.runtime.Tensor("float32", Float32Array.of(1), [1]) });
}

async function time({ runs }) {
  await wait();
  const start = performance.now();
  for (let n = 0; n < runs; n++) (await state.attention.run(state.feeds)).output.dispose();
  await wait();
  return performance.now() - start;
}

async function output() {
  const { output } = await state.attention.run(state.feeds);
  const { y } = await state.download.run({ x: output });
  output.dispose();
  return y.data;
}

const answers = { open, put, time, output };

process.on("message", async ({ kind, ...request }) => {
  try {
    process.send({ value: await answers[kind](request) });
  } catch (error) {
    process.send({ failure: error.message });
  }
});
