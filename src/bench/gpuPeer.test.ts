import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DeviceError, ShapeError, UnsupportedError } from "../errors.ts";
import { openGpuPeer } from "./gpuPeer.ts";

/**
 * Stands for onnxruntime-node: "attention" gives back its query, negated, 30 ms after it was enqueued, and takes only what
 * lies on the GPU; a cast to the host waits for all of it.
 */
const standIn = `
let end = Promise.resolve();
exports.Tensor = class {
  constructor(type, data, dims) {
    Object.assign(this, { type, data, dims, location: "cpu" });
  }
  dispose() {}
};
exports.InferenceSession = {
  async create(model, { executionProviders, preferredOutputLocation: location }) {
    if (executionProviders.join() !== "webgpu") throw new Error("not on WebGPU");
    const isAttention = Buffer.from(model).includes("MultiHeadAttention");
    if (isAttention && process.env.STAND_IN === "refuses") throw new Error("no f16 here\\nat native code");
    return {
      async run(feeds) {
        const made = (data) => Object.assign(new exports.Tensor("float32", data, []), { location });
        if (!isAttention) {
          if (location === "cpu") await end;
          return { y: made(feeds.x.data) };
        }
        if (process.env.STAND_IN === "aborts") {
          console.error("device lost");
          process.abort();
        }
        for (const { location } of Object.values(feeds)) if (location !== "gpu-buffer") throw new Error(location);
        end = end.then(() => new Promise((resolve) => setTimeout(resolve, 30)));
        return { output: made(feeds.query.data.map((x) => -x)) };
      },
    };
  },
};`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "scfa-peer-"));
  await writeFile(join(folder, "index.cjs"), standIn);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const shape = { B: 1, T: 3, H: 1, Hk: 1, D: 2 };
const [q, k, v] = [Float32Array.of(1, 2, 3, 4, 5, 6), new Float32Array(6), new Float32Array(6)] as const;

async function open(behaviour = "", more: { shape?: typeof shape; dtype?: "f32" | "bf16" } = {}) {
  process.env["STAND_IN"] = behaviour;
  try {
    const found = { name: "stand-in 1.0", entry: join(folder, "index.cjs") };
    return await openGpuPeer(found, { shape: more.shape ?? shape, inputs: { q, k, v } }, more.dtype ?? "f32");
  } finally {
    delete process.env["STAND_IN"];
  }
}

test("its inputs lie on the GPU, and a time ends when the last run has ended", async () => {
  const peer = await open();
  expect(await peer.time(3)).toBeGreaterThan(85);
  expect([...(await peer.output())]).toEqual([-1, -2, -3, -4, -5, -6]);
  await peer.close();
  await expect(peer.time(1)).rejects.toThrow("bench: the process of stand-in 1.0 ended (SIGKILL).");
});

test("what it refuses, and that its process ends, are told", async () => {
  await expect(open("refuses")).rejects.toThrow(
    'bench: stand-in 1.0 must run this on WebGPU, got "no f16 here". Leave it out with --peer none.',
  );
  const peer = await open("aborts");
  const error = await peer.time(1).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(DeviceError);
  expect(error).toMatchObject({
    code: "SIGABRT",
    message: expect.stringContaining("the process of stand-in 1.0 ended"),
  });
});

test("what its operator has not is refused before a process starts", async () => {
  await expect(open("", { shape: { ...shape, H: 2 } })).rejects.toThrow(ShapeError);
  await expect(open("", { dtype: "bf16" })).rejects.toThrow(UnsupportedError);
});
