import type { Device } from "../device/device.ts";
import { bytesPerElement, type FloatType, type Tensor } from "../tensor.ts";
import type { Arena } from "./arena.ts";

/**
 * The head and its loss: logits = hidden tokens^T (the embedding table is the head's weight), then softmax
 * cross-entropy. The logits of all rows never exist together: chunks of rows pass through one buffer, and where a
 * gradient is wanted it is taken while the chunk is there.
 */
export class Head {
  readonly #device: Device;
  /** [rows of a chunk, V] */
  readonly #logits: Tensor;

  /**
   * @param rows N, the most rows of one call
   * @param logitsBytes how large the buffer may be, the device's `chunkBytes` if left out; at least one row
   */
  constructor(
    arena: Arena,
    {
      rows,
      vocabulary,
      dtype,
      logitsBytes = arena.device.capabilities.chunkBytes,
    }: { rows: number; vocabulary: number; dtype: FloatType; logitsBytes?: number | undefined },
  ) {
    this.#device = arena.device;
    const bytes = Math.min(logitsBytes, arena.device.capabilities.maxTensorBytes);
    const chunkRows = wholeTiles(Math.floor(bytes / (vocabulary * bytesPerElement[dtype])));
    this.#logits = arena.empty([Math.min(rows, Math.max(1, chunkRows)), vocabulary], dtype);
  }

  /** The most rows whose logits fit the buffer. */
  get rowsAtOnce(): number {
    return this.#logits.shape[0]!;
  }

  /**
   * Logits of a few rows.
   * @param hidden [n,C]; n is at most `rowsAtOnce`
   * @param table [V,C]
   * @returns [n,V], a view that the next call overwrites
   */
  logits(hidden: Tensor, table: Tensor): Tensor {
    const out = this.#logits.slice(0, 0, hidden.shape[0]!);
    this.#device.ops.linear({ x: hidden, w: table, transposed: true, out });
    return out;
  }

  /**
   * Losses of all rows and, with `backward`, the gradients.
   * @param hidden [N,C]
   * @param table [V,C]
   * @param targets i32 [N]; -1 is passed over
   * @param losses f32 [N], in nats
   * @param backward `dHidden` [N,C] is written; `dTable` (f32 [V,C]) is added into; both times `gradScale` (f32 [1])
   */
  loss({
    hidden,
    table,
    targets,
    losses,
    backward,
  }: {
    hidden: Tensor;
    table: Tensor;
    targets: Tensor<"i32">;
    losses: Tensor;
    backward?: { gradScale: Tensor; dHidden: Tensor; dTable: Tensor };
  }): void {
    const { ops } = this.#device;
    const N = hidden.shape[0]!;
    const chunkRows = this.rowsAtOnce;
    for (let start = 0; start < N; start += chunkRows) {
      const n = Math.min(chunkRows, N - start);
      const x = hidden.slice(0, start, n);
      const logits = this.logits(x, table);
      const rows = { logits, targets: targets.slice(0, start, n), losses: losses.slice(0, start, n) };
      if (!backward) {
        ops.softmaxCrossEntropy(rows);
        continue;
      }
      ops.softmaxCrossEntropy({ ...rows, gradScale: backward.gradScale });
      ops.linearBackwardInput({ dout: logits, w: table, transposed: true, dx: backward.dHidden.slice(0, start, n) });
      ops.linearBackwardWeight({ x, dout: logits, transposed: true, dw: backward.dTable });
    }
  }
}

/** Rows that a tile of a matrix product is high, or a multiple of it, on most devices. */
const TILE_ROWS = 128;

/** A chunk's rows, in whole tiles where there is more than one. */
function wholeTiles(rows: number): number {
  return rows > TILE_ROWS ? rows - (rows % TILE_ROWS) : rows;
}
