import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { groupQueryAttentionModel } from "./onnxModel.ts";

/** Dense causal attention of another library, on the same inputs. */
export interface Peer {
  /** For example `onnxruntime-node 1.30.0`. */
  readonly name: string;
  /** Runs once and gives o [B, T, H, D]. */
  run(): Promise<Float32Array>;
  close(): Promise<void>;
}

/** What is used of onnxruntime-node; it is not a dependency, so its types are not there. */
interface OnnxRuntime {
  Tensor: new (type: string, data: Float32Array | Int32Array, dims: readonly number[]) => OnnxTensor;
  InferenceSession: {
    create(
      model: Uint8Array,
      options: object,
    ): Promise<{
      run(feeds: Record<string, OnnxTensor>): Promise<Record<string, OnnxTensor>>;
      release(): Promise<void>;
    }>;
  };
}

interface OnnxTensor {
  readonly data: Float32Array;
  dispose(): void;
}

/** How to get the peer; it is not a dependency because it brings hundreds of megabytes. */
export const peerInstall = "ONNXRUNTIME_NODE_INSTALL=skip npm install --no-save onnxruntime-node";

const packageName = "onnxruntime-node";

/** Finds onnxruntime-node from the working folder or from this package; null if it is not installed. */
export async function findPeer(): Promise<{ name: string; runtime: OnnxRuntime } | null> {
  for (const from of [pathToFileURL(join(process.cwd(), "x")).href, import.meta.url]) {
    const require = createRequire(from);
    try {
      const { version } = require(`${packageName}/package.json`) as { version: string };
      const loaded = (await import(pathToFileURL(require.resolve(packageName)).href)) as OnnxRuntime & {
        default?: OnnxRuntime;
      };
      return { name: `${packageName} ${version}`, runtime: loaded.default ?? loaded };
    } catch (error) {
      if (!["MODULE_NOT_FOUND", "ERR_MODULE_NOT_FOUND"].includes((error as NodeJS.ErrnoException).code ?? ""))
        throw error;
    }
  }
  return null;
}

/** The peer's GroupQueryAttention over given inputs, q [B, T, H, D], k and v [B, T, Hk, D], on so many threads. */
export async function openPeer(
  { name, runtime }: { name: string; runtime: OnnxRuntime },
  {
    shape: { B, T, H, Hk, D },
    inputs: { q, k, v },
    threads,
  }: {
    shape: { B: number; T: number; H: number; Hk: number; D: number };
    inputs: { q: Float32Array; k: Float32Array; v: Float32Array };
    threads: number;
  },
): Promise<Peer> {
  const session = await runtime.InferenceSession.create(groupQueryAttentionModel({ B, T, H, Hk, D }), {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
  });
  const feeds = {
    query: new runtime.Tensor("float32", q, [B, T, H * D]),
    key: new runtime.Tensor("float32", k, [B, T, Hk * D]),
    value: new runtime.Tensor("float32", v, [B, T, Hk * D]),
    seqlens_k: new runtime.Tensor("int32", new Int32Array(B).fill(T - 1), [B]),
    total_sequence_length: new runtime.Tensor("int32", Int32Array.of(T), [1]),
  };
  return {
    name,
    async run() {
      const outputs = await session.run(feeds);
      return outputs["output"]!.data;
    },
    close: () => session.release(),
  };
}
