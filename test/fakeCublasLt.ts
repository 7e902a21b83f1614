import {
  attribute,
  blasStatus,
  CublasLt,
  type CublasLtCall,
  dataType,
  epilogue,
  operation,
  resultBytes,
} from "../src/device/cuda/cublaslt.ts";
import type { NativeValue } from "../src/device/cuda/driver.ts";

interface Layout {
  readonly type: number;
  readonly rows: number;
  readonly columns: number;
  readonly leadingDimension: number;
}

/** One call of `cublasLtMatmul`. */
export interface Call {
  readonly epilogue: number;
  readonly algorithm: number;
  readonly out: number;
  readonly beta: number;
}

/**
 * Stands in for cuBLASLt in tests: multiplies column-major matrices that `place` put at an address, exactly, as the
 * library's documentation says: D = epilogue(op(A) op(B) + beta C + bias). An algorithm is its number.
 */
export class FakeCublasLt extends CublasLt {
  readonly path = "fake";
  readonly version = "13.0";
  readonly calls: Call[] = [];
  /** How many algorithms it proposes. */
  proposals = 1;
  /** Whether it turns a product down, by its epilogue. */
  refuses: (epilogue: number) => boolean = () => false;
  readonly #layouts = new Map<bigint, Layout>();
  readonly #descriptions = new Map<bigint, Map<number, number>>();
  readonly #blocks: { readonly address: number; readonly bytes: number; readonly values: Float64Array }[] = [];
  #next = 0x10_0000;

  /** Device memory that holds these values. @param shift bytes past an address that is a multiple of 256 */
  place(values: ArrayLike<number>, bytesPerElement: number, { shift = 0 } = {}): number {
    const address = this.#next + shift;
    this.#next += Math.ceil((values.length * bytesPerElement + shift + 1) / 256) * 256;
    this.#blocks.push({ address, bytes: bytesPerElement, values: Float64Array.from(values) });
    return address;
  }

  valuesAt(address: number): Float64Array {
    return this.#blocks.find((block) => block.address === address)!.values;
  }

  attempt(name: CublasLtCall, ...args: NativeValue[]): number {
    const [first, second, third] = args;
    switch (name) {
      case "cublasLtMatrixLayoutCreate": {
        const [type, rows, columns, leadingDimension] = args.slice(1) as number[];
        this.#layouts.set(this.#handle(first), { type, rows, columns, leadingDimension });
        return blasStatus.success;
      }
      case "cublasLtMatmulDescCreate":
        this.#descriptions.set(this.#handle(first), new Map([[attribute.epilogue, epilogue.none]]));
        return blasStatus.success;
      case "cublasLtMatmulDescSetAttribute": {
        const value = third as Int32Array | BigUint64Array;
        this.#descriptions.get(first as bigint)!.set(second as number, Number(value[0]));
        return blasStatus.success;
      }
      case "cublasLtMatmulAlgoGetHeuristic":
        return this.#propose(args[1] as bigint, args[8] as Uint8Array, args[9] as Int32Array);
      case "cublasLtMatmul":
        return this.#multiply(args);
      case "cublasLtMatmulAlgoCheck":
        return blasStatus.notSupported;
      default:
        if (first instanceof BigUint64Array) this.#handle(first);
        return blasStatus.success;
    }
  }

  protected statusName(code: number): string {
    return `status ${code}`;
  }

  #handle(at: NativeValue | undefined): bigint {
    const handle = BigInt(this.#next++);
    (at as BigUint64Array)[0] = handle;
    return handle;
  }

  #propose(description: bigint, results: Uint8Array, count: Int32Array): number {
    if (this.refuses(this.#descriptions.get(description)!.get(attribute.epilogue)!)) return blasStatus.notSupported;
    for (let n = 0; n < this.proposals; n++) results[n * resultBytes] = n;
    count[0] = this.proposals;
    return blasStatus.success;
  }

  #multiply(args: readonly NativeValue[]): number {
    const settings = this.#descriptions.get(args[1] as bigint)!;
    const layout = (n: number) => this.#layouts.get(args[n] as bigint)!;
    const factor = (at: number, turn: number): ((row: number, column: number) => number) => {
      const read = this.#reader(args[at] as number, layout(at + 1));
      return settings.get(turn) === operation.turned ? (row, column) => read(column, row) : read;
    };
    const [a, b] = [factor(3, attribute.operationA), factor(5, attribute.operationB)];
    const isTurned = settings.get(attribute.operationA) === operation.turned;
    const K = isTurned ? layout(4).rows : layout(4).columns;
    const beta = (args[7] as Float32Array)[0]!;
    const [out, { rows, columns, leadingDimension, type }] = [args[10] as number, layout(11)];
    const addend = beta === 0 ? () => 0 : this.#reader(args[8] as number, layout(9));
    const kind = settings.get(attribute.epilogue)!;
    const bias = kind & epilogue.bias ? this.#reader(settings.get(attribute.biasPointer)!, vector(rows)) : () => 0;
    const auxLayout = {
      ...layout(11),
      type: dataType.bf16,
      leadingDimension: settings.get(attribute.auxLeadingDimension)!,
    };
    const auxAt = settings.get(attribute.auxPointer)!;
    const results = Array.from({ length: columns }, (_, column) =>
      Array.from({ length: rows }, (_, row) => {
        let value = beta * addend(row, column) + bias(row, 0);
        for (let k = 0; k < K; k++) value += a(row, k) * b(k, column);
        if (kind === epilogue.geluSlope) return value * geluSlope(this.#reader(auxAt, auxLayout)(row, column));
        if (kind !== epilogue.gelu && kind !== epilogue.geluBias) return value;
        this.#write(auxAt, 2, row + column * auxLayout.leadingDimension, value);
        return gelu(value);
      }),
    );
    for (const [column, values] of results.entries()) {
      for (const [row, value] of values.entries()) {
        this.#write(out, type === dataType.f32 ? 4 : 2, row + column * leadingDimension, value);
      }
    }
    this.calls.push({ epilogue: kind, algorithm: (args[12] as Uint8Array)[0]!, out, beta });
    return blasStatus.success;
  }

  #reader(address: number, { type, leadingDimension, rows, columns }: Layout): (row: number, column: number) => number {
    const block = this.#blockAt(address, type === dataType.f32 ? 4 : 2);
    return (row, column) => {
      if (row >= rows || column >= columns) throw new Error(`[${row}, ${column}] of [${rows}, ${columns}]`);
      const index = (address - block.address) / block.bytes + row + column * leadingDimension;
      if (index >= block.values.length) throw new Error(`element ${index} of ${block.values.length}`);
      return block.values[index]!;
    };
  }

  #write(address: number, bytes: number, index: number, value: number): void {
    const block = this.#blockAt(address, bytes);
    const at = (address - block.address) / bytes + index;
    if (at >= block.values.length) throw new Error(`element ${at} of ${block.values.length}`);
    block.values[at] = value;
  }

  #blockAt(address: number, bytes: number) {
    const block = this.#blocks.find(
      (b) => b.address <= address && address < b.address + b.bytes * b.values.length && b.bytes === bytes,
    );
    if (!block) throw new Error(`no elements of ${bytes} bytes at ${address}`);
    return block;
  }
}

const vector = (rows: number): Layout => ({ type: dataType.bf16, rows, columns: 1, leadingDimension: rows });
const inner = (x: number) => Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3));
const gelu = (x: number) => 0.5 * x * (1 + inner(x));

function geluSlope(x: number): number {
  const t = inner(x);
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
}
