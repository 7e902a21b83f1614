import { type ChildProcess, fork } from "node:child_process";
import { DeviceError, ShapeError, UnsupportedError } from "../errors.ts";
import type { FloatType } from "../tensor.ts";
import { castModel, type ElementType, multiHeadAttentionModel } from "./onnxModel.ts";
import type { FoundPeer, Peer, PeerCall } from "./peer.ts";

const elementTypes: Partial<Record<FloatType, ElementType>> = { f32: "float32", f16: "float16" };

/**
 * The peer's MultiHeadAttention on a GPU through WebGPU, in a process of its own. Inputs are put on the GPU here and outputs
 * stay there, so a run transfers nothing.
 * @param dtype f32 or f16, what it computes in
 * @throws ShapeError, UnsupportedError, DeviceError
 */
export async function openGpuPeer(
  { name, entry }: FoundPeer,
  { shape: { B, T, H, Hk, D }, inputs }: PeerCall,
  dtype: FloatType,
): Promise<Peer> {
  const type = elementTypes[dtype];
  if (!type) throw new UnsupportedError("bench", "the peer on WebGPU computes in f32 or f16", dtype, leaveOut);
  if (H !== Hk) {
    throw new ShapeError("bench", "the peer on WebGPU has as many key heads as heads", `H=${H}, Hk=${Hk}`, leaveOut);
  }
  const peer = new PeerProcess(name);
  const shape = [B, T, H * D];
  try {
    await peer.ask("open", {
      entry,
      models: {
        upload: castModel({ shape, from: "float32", to: type }),
        attention: multiHeadAttentionModel({ B, T, H, D, type }),
        download: castModel({ shape, from: type, to: "float32" }),
        mark: castModel({ shape: [1], from: "float32", to: "float32" }),
      },
    });
    const named = { query: inputs.q, key: inputs.k, value: inputs.v };
    for (const [name, values] of Object.entries(named)) await peer.ask("put", { name, values, shape });
  } catch (error) {
    await peer.close();
    throw error;
  }
  return {
    name: `${name}, WebGPU`,
    timed: "MultiHeadAttention, causal; transfers are excluded on both sides",
    time: (runs) => peer.ask<number>("time", { runs }),
    output: () => peer.ask<Float32Array>("output"),
    close: () => peer.close(),
  };
}

const leaveOut = "Leave it out with --peer none.";

type Reply = { readonly value: unknown } | { readonly failure: string };

class PeerProcess {
  readonly #child: ChildProcess;
  readonly #name: string;
  /** The last of what the library and its Dawn print. */
  #printed = "";

  constructor(name: string) {
    this.#name = name;
    this.#child = fork(new URL("./gpuPeerChild.mjs", import.meta.url), {
      serialization: "advanced",
      execArgv: [],
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#printed = (this.#printed + text).slice(-2000);
    });
  }

  /** @throws UnsupportedError if the library refuses; DeviceError if its process ends */
  ask<V>(kind: "open" | "put" | "time" | "output", request: object = {}): Promise<V> {
    const child = this.#child;
    return new Promise((resolve, reject) => {
      const settle = (action: () => void) => {
        child.off("message", onMessage).off("exit", onExit).off("error", reject);
        action();
      };
      const onMessage = (reply: Reply) => {
        if ("value" in reply) settle(() => resolve(reply.value as V));
        else settle(() => reject(this.#refused(reply.failure)));
      };
      const onExit = () => settle(() => reject(this.#ended()));
      child.on("message", onMessage).on("exit", onExit).on("error", reject);
      // If it cannot be sent, the process has ended or is about to.
      if (child.exitCode === null && child.signalCode === null) child.send({ kind, ...request }, () => {});
      else onExit();
    });
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await exit;
  }

  #refused(failure: string): UnsupportedError {
    const line = failure.trim().split("\n")[0]!;
    // A long one begins with a place in the library's source and the signature of a function.
    const words = line.length > 200 ? `...${line.slice(-200)}` : line;
    return new UnsupportedError("bench", `${this.#name} must run this on WebGPU`, `"${words}"`, leaveOut);
  }

  #ended(): DeviceError {
    const { exitCode, signalCode } = this.#child;
    const words = this.#printed.trim().split("\n").at(-1);
    const detail = `the process of ${this.#name} ended${words && `, after it had printed "${words}"`}`;
    return new DeviceError("bench", `${signalCode ?? exitCode}`, detail);
  }
}
