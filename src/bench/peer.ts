import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { groupQueryAttentionModel } from "./onnxModel.ts";

/** Dense causal attention of another library, on the same inputs. */
export interface Peer {
  /** For example `onnxruntime-node 1.30.0, CPU`. */
  readonly name: string;
  /** What of it is timed, for the record: the operation, and where its inputs and outputs lie. */
  readonly timed: string;
  /** Milliseconds of so many runs, one behind the other, until the last has ended. */
  time(runs: number): Promise<number>;
  /** Runs once and gives o [B, T, H, D]. */
  output(): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Where the peer computes: onnxruntime's name of it. */
export type PeerProvider = "cpu" | "webgpu";

/** An installed onnxruntime-node. */
export interface FoundPeer {
  /** For example `onnxruntime-node 1.30.0`. */
  readonly name: string;
  /** The file to import. */
  readonly entry: string;
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

/** Inputs of a peer: q [B, T, H, D], k and v [B, T, Hk, D]. */
export interface PeerCall {
  readonly shape: {
    readonly B: number;
    readonly T: number;
    readonly H: number;
    readonly Hk: number;
    readonly D: number;
  };
  readonly inputs: { readonly q: Float32Array; readonly k: Float32Array; readonly v: Float32Array };
}

/** How to get the peer; it is not a dependency because it brings hundreds of megabytes. */
export const peerInstall = "ONNXRUNTIME_NODE_INSTALL=skip npm install --no-save onnxruntime-node";

const packageName = "onnxruntime-node";

/** Finds onnxruntime-node from the working folder or from this package; null if it is not installed. */
export function findPeer(): FoundPeer | null {
  for (const from of [pathToFileURL(join(process.cwd(), "x")).href, import.meta.url]) {
    const require = createRequire(from);
    try {
      const { version } = require(`${packageName}/package.json`) as { version: string };
      return { name: `${packageName} ${version}`, entry: require.resolve(packageName) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") throw error;
    }
  }
  return null;
}

/** The peer's GroupQueryAttention in float32 on so many threads of the CPU. */
export async function openCpuPeer(
  { name, entry }: FoundPeer,
  { shape: { B, T, H, Hk, D }, inputs: { q, k, v } }: PeerCall,
  threads: number,
): Promise<Peer> {
  const loaded = (await import(pathToFileURL(entry).href)) as OnnxRuntime & { default?: OnnxRuntime };
  const { Tensor, InferenceSession } = loaded.default ?? loaded;
  const session = await InferenceSession.create(groupQueryAttentionModel({ B, T, H, Hk, D }), {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
  });
  const feeds = {
    query: new Tensor("float32", q, [B, T, H * D]),
    key: new Tensor("float32", k, [B, T, Hk * D]),
    value: new Tensor("float32", v, [B, T, Hk * D]),
    seqlens_k: new Tensor("int32", new Int32Array(B).fill(T - 1), [B]),
    total_sequence_length: new Tensor("int32", Int32Array.of(T), [1]),
  };
  return {
    name: `${name}, CPU`,
    timed: "GroupQueryAttention, causal",
    async time(runs) {
      const start = performance.now();
      for (let n = 0; n < runs; n++) await session.run(feeds);
      return performance.now() - start;
    },
    output: async () => (await session.run(feeds))["output"]!.data,
    close: () => session.release(),
  };
}
