import { type Device, openDevice } from "scfa";
import {
  decodeModel,
  decodeSafetensors,
  formatAttention,
  Gpt,
  layerAttentions,
  type ModelConfig,
  ModelParameters,
  parseModelConfig,
} from "scfa/gpt";
import { serve, Transfer } from "../workers/calls.ts";

/** What of a model the page needs to know. */
export interface LoadedModel {
  /** Longest text, in bytes. */
  readonly context: number;
  readonly layers: number;
  readonly heads: number;
  /** What the model was trained to see, in its notation. */
  readonly attention: string;
}

/** What every byte of a text looked back at. */
export interface Reading {
  /** Bytes of the text. */
  readonly T: number;
  /** For each layer [heads, T, T]: the share of its attention that a byte gives to each. */
  readonly weights: readonly Float32Array[];
  /** What each head sees, by layer and head. */
  readonly sees: readonly (readonly string[])[];
  /** Mean loss of the bytes after the first, in bits. */
  readonly bitsPerByte: number;
}

let device: Device | undefined;
let trained: ModelParameters | undefined;

export const handlers = {
  /** Loads the model that came with the page; null if it came without one. */
  async load(url: string): Promise<LoadedModel | null> {
    const response = await fetch(url);
    if (!response.ok || response.headers.get("Content-Type")?.startsWith("text/html")) return null;
    const file = await decodeSafetensors(new Uint8Array(await response.arrayBuffer()), "model.safetensors");
    device = await openDevice("cpu");
    trained = (await decodeModel(file, device)).parameters;
    const { context, layers, heads } = trained.config;
    return { context, layers, heads, attention: layerAttentions(trained.config).map(formatAttention).join("; ") };
  },

  /**
   * Reads a text once.
   * @param bytes at least two, at most the model's context
   * @param attention what the heads shall see, in the model's notation; null: as they were trained
   */
  async read({ bytes, attention }: { bytes: Uint8Array; attention: string | null }): Promise<Transfer<Reading>> {
    const config: ModelConfig =
      attention === null ? trained!.config : parseModelConfig({ ...trained!.config, attention });
    const parameters = new ModelParameters(device!, config);
    parameters.copyFrom(trained!);
    const T = bytes.length;
    const model = new Gpt(parameters, { batch: 1, context: T });
    try {
      const tokens = Int32Array.from(bytes);
      const targets = Int32Array.from({ length: T }, (_, t) => tokens[t + 1] ?? -1);
      const loss = await model.evaluate({ tokens, targets }, { draw: { seed: 1, index: 0 } });
      const weights: Float32Array[] = [];
      for (let layer = 0; layer < config.layers; layer++) weights.push((await model.attentionWeights(layer)).weights);
      const sees = layerAttentions(config).map((layer) =>
        layer.flatMap(({ heads, pattern }) => new Array<string>(heads).fill(formatAttention([{ heads, pattern }]))),
      );
      const reading = { T, weights, sees, bitsPerByte: loss / Math.LN2 };
      return new Transfer(
        reading,
        weights.map(({ buffer }) => buffer),
      );
    } finally {
      model.dispose();
      parameters.dispose();
    }
  },
};

serve(handlers);
