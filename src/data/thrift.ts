/**
 * A reader of Thrift's compact protocol for untrusted bytes: every length is checked against what is there, depth and
 * number of values are limited, and nothing is built for what is only checked. Source: the Thrift compact protocol
 * description (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
 */
export type ThriftValue = number | bigint | boolean | Uint8Array | ThriftValue[] | ThriftStruct;

/** Fields by their numbers. */
export type ThriftStruct = Map<number, ThriftValue>;

/** What is wrong with the bytes; `at` is the place in them. */
export class ThriftError extends Error {
  constructor(
    readonly at: number,
    message: string,
    /** More bytes might have made it right. */
    readonly isEarlyEnd = false,
  ) {
    super(message);
  }
}

export interface ThriftLimits {
  maxDepth?: number;
  maxValues?: number;
  /** Build nothing: the fields are empty. */
  checkOnly?: boolean;
}

/**
 * Reads one struct from the start of `bytes`.
 * @returns its fields and where it ends
 * @throws ThriftError
 */
export function readThrift(bytes: Uint8Array, limits: ThriftLimits = {}): { fields: ThriftStruct; end: number } {
  const reader = new Reader(bytes, limits);
  return { fields: reader.struct(0), end: reader.at };
}

const types = { true: 1, false: 2, byte: 3, i16: 4, i32: 5, i64: 6, double: 7, binary: 8, list: 9, struct: 12 };

const nothing: ThriftStruct = new Map();

class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #maxDepth: number;
  readonly #keeps: boolean;
  #valuesLeft: number;

  constructor(bytes: Uint8Array, { maxDepth = 16, maxValues = 1_000_000, checkOnly = false }: ThriftLimits) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#maxDepth = maxDepth;
    this.#keeps = !checkOnly;
    this.#valuesLeft = maxValues;
  }

  struct(depth: number): ThriftStruct {
    if (depth > this.#maxDepth) throw new ThriftError(this.at, `structures are nested deeper than ${this.#maxDepth}`);
    const fields: ThriftStruct = this.#keeps ? new Map() : nothing;
    let field = 0;
    for (;;) {
      const head = this.#byte();
      if (head === 0) return fields;
      const type = head & 15;
      field = head >> 4 ? field + (head >> 4) : this.#zigzag();
      const isFlag = type === types.true || type === types.false;
      const value = isFlag ? this.#count(type === types.true) : this.#value(type, depth);
      if (this.#keeps) fields.set(field, value);
    }
  }

  #value(type: number, depth: number): ThriftValue {
    this.#count(true);
    switch (type) {
      case types.byte:
        return (this.#byte() << 24) >> 24;
      case types.i16:
      case types.i32:
        return this.#zigzag();
      case types.i64:
        return this.#zigzag64();
      case types.double:
        this.#need(8);
        this.at += 8;
        return this.#view.getFloat64(this.at - 8, true);
      case types.binary: {
        const length = this.#varint();
        this.#need(length);
        this.at += length;
        return this.#bytes.subarray(this.at - length, this.at);
      }
      case types.list:
        return this.#list(depth);
      case types.struct:
        return this.struct(depth + 1);
      default:
        throw new ThriftError(this.at, `there is a value of the unknown type ${type}`);
    }
  }

  #list(depth: number): ThriftValue[] {
    if (depth >= this.#maxDepth) throw new ThriftError(this.at, `lists are nested deeper than ${this.#maxDepth}`);
    const head = this.#byte();
    const type = head & 15;
    const length = head >> 4 === 15 ? this.#varint() : head >> 4;
    // Every element takes at least a byte, so a longer list is a lie.
    this.#need(length);
    const values: ThriftValue[] = [];
    for (let i = 0; i < length; i++) {
      const isFlag = type === types.true || type === types.false;
      const value = isFlag ? this.#count(this.#byte() === 1) : this.#value(type, depth + 1);
      if (this.#keeps) values.push(value);
    }
    return values;
  }

  #count<V>(value: V): V {
    if (--this.#valuesLeft < 0) throw new ThriftError(this.at, "there are too many values");
    return value;
  }

  #need(length: number): void {
    if (this.at + length > this.#bytes.length) throw new ThriftError(this.at, "the bytes end too early", true);
  }

  #byte(): number {
    this.#need(1);
    return this.#bytes[this.at++]!;
  }

  #varint(): number {
    let result = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#byte();
      result += (byte & 127) * 2 ** shift;
      if (byte < 128) return result;
    }
    throw new ThriftError(this.at, "a number is longer than 32 bits");
  }

  #zigzag(): number {
    const value = this.#varint() >>> 0;
    return (value >>> 1) ^ -(value & 1);
  }

  #zigzag64(): bigint {
    let result = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      result |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, (result >> 1n) ^ -(result & 1n));
    }
    throw new ThriftError(this.at, "a number is longer than 64 bits");
  }
}
