import type { Device } from "../device/device.ts";
import type { AttentionShape } from "../pattern/pattern.ts";
import { precisionOf } from "../reference/precision.ts";
import { normalAt } from "../rng.ts";
import type { FloatType, Tensor } from "../tensor.ts";

export type InputName = "q" | "k" | "v" | "dout";

const streams: Record<InputName, number> = { q: 2, k: 3, v: 4, dout: 5 };

/**
 * Drawn values of each input; the largest prime below 2^20. Longer inputs repeat them: drawing billions would take
 * minutes, and as the length is a prime, no two rows of one head come out equal.
 */
const BLOCK = 1_048_573;

/**
 * Normal inputs of attention calls, rounded to the type that they are computed in. They exist as one block of each and
 * are laid out where they are wanted, so that the host never holds inputs of gigabytes.
 */
export class BenchInputs {
  readonly #blocks = new Map<InputName, Float32Array>();

  constructor(
    readonly shape: AttentionShape & { readonly D: number },
    readonly dtype: FloatType,
  ) {}

  /** [B, T, heads, D] */
  sizesOf(name: InputName): [number, number, number, number] {
    const { B, Tq, Tk, H, Hk, D } = this.shape;
    return name === "q" || name === "dout" ? [B, Tq, H, D] : [B, Tk, Hk, D];
  }

  /** All values, row-major: for what cannot take them from a device. */
  all(name: InputName): Float32Array {
    const size = this.#size(name);
    const block = this.#block(name);
    const values = new Float32Array(size);
    for (let at = 0; at < size; at += block.length) values.set(block.subarray(0, size - at), at);
    return values;
  }

  /** The vectors of some rows and heads. @returns [rows, headCount, D] */
  rows(
    name: InputName,
    { b, rows, firstHead, headCount }: { b: number; rows: readonly number[]; firstHead: number; headCount: number },
  ): Float32Array {
    const [, T, heads, D] = this.sizesOf(name);
    const block = this.#block(name);
    const width = headCount * D;
    const values = new Float32Array(rows.length * width);
    for (const [n, row] of rows.entries()) {
      const from = ((b * T + row) * heads + firstHead) * D;
      for (let i = 0; i < width; i++) values[n * width + i] = block[(from + i) % block.length]!;
    }
    return values;
  }

  /** A tensor of all values. The block crosses to the device once and is repeated there. */
  upload(device: Device, name: InputName): Tensor {
    const tensor = device.empty(this.sizesOf(name), this.dtype);
    const values = this.#block(name);
    const block = device.tensor(values, [values.length], this.dtype);
    for (let offset = 0; offset < tensor.size; offset += values.length) {
      const length = Math.min(values.length, tensor.size - offset);
      device.ops.copy({ x: block.view([length]), out: tensor.view([length], { offset }) });
    }
    block.dispose();
    return tensor;
  }

  #size(name: InputName): number {
    return this.sizesOf(name).reduce((n, d) => n * d, 1);
  }

  #block(name: InputName): Float32Array {
    let block = this.#blocks.get(name);
    if (!block) {
      const { store } = precisionOf[this.dtype];
      const length = Math.min(BLOCK, this.#size(name));
      block = Float32Array.from({ length }, (_, i) => store(normalAt(1, streams[name], i)));
      this.#blocks.set(name, block);
    }
    return block;
  }
}
