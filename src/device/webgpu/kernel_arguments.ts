import { UnsupportedError } from "../../errors.ts";
import type { DType, Storage } from "../../tensor.ts";
import type { GpuStorage } from "./memory.ts";

/** A tensor as kernels see it, or an op's scratch. */
export interface Operand {
  readonly storage: Storage;
  /** u32 reads any four-byte type as bits. */
  readonly dtype: DType | "u32";
  readonly strides: readonly number[];
  readonly offset: number;
}

export interface NumberField {
  readonly type: "u32" | "i32" | "f32";
  readonly value: number;
}

export const u32 = (value: number): NumberField => ({ type: "u32", value });
export const i32 = (value: number): NumberField => ({ type: "i32", value });
export const f32 = (value: number): NumberField => ({ type: "f32", value });

/** The operand's elements as bits, if they have four bytes; as they are if they have two. */
export function bits(operand: Operand): Operand {
  if (elementOf(operand) === "f16") return operand;
  const { storage, strides, offset } = operand;
  return { storage, strides, offset, dtype: "u32" };
}

/** The bits of a float32. */
export function floatBits(value: number): NumberField {
  return u32(new Uint32Array(new Float32Array([value]).buffer)[0]!);
}

/** What a kernel is called with, by names in camelCase; the kernel sees them in snake_case. */
export interface KernelArguments {
  readonly reads?: Readonly<Record<string, Operand | null | undefined>>;
  /** May be read too, and may share memory with each other and with what is read. */
  readonly writes?: Readonly<Record<string, Operand | null | undefined>>;
  readonly numbers?: Readonly<Record<string, NumberField>>;
}

/** A call, ready to bind. */
export interface BoundArguments {
  /** WGSL that declares what the kernel is called with; the same text means the same pipeline. */
  readonly declarations: string;
  readonly buffers: readonly { readonly buffer: GPUBuffer; readonly isWritten: boolean }[];
  /** The uniform block. */
  readonly block: ArrayBuffer;
}

/**
 * Declares, for every operand, `load_NAME(i)`, for those written also `store_NAME(i, value)`, with i in elements from
 * the operand's first, and values of f16 as f32: kernels compute in f32 whatever the tensors hold; `HAS_NAME`, false where it is null; and, if it has dimensions before the last, `row_NAME(...)`,
 * the element at which the row of these indices begins. Numbers are `args.NAME`. Every buffer is bound once, however
 * many operands lie in it: WebGPU takes no writable buffer twice.
 */
export function bindArguments({ reads = {}, writes = {}, numbers = {} }: KernelArguments): BoundArguments {
  const fields: (NumberField & { name: string })[] = [];
  const buffers: { buffer: GPUBuffer; isWritten: boolean; type: string }[] = [];
  const functions: string[] = [];
  for (const [given, isWritten] of [
    [reads, false],
    [writes, true],
  ] as const) {
    for (const [key, operand] of Object.entries(given)) {
      const name = snakeCase(key);
      functions.push(`const HAS_${name.toUpperCase()}: bool = ${Boolean(operand)};`);
      if (!operand) {
        functions.push(...absentOperand(name));
        continue;
      }
      const { buffer } = operand.storage as GpuStorage;
      const type = elementOf(operand);
      let at = buffers.findIndex((known) => known.buffer === buffer);
      if (at < 0) at = buffers.push({ buffer, isWritten, type }) - 1;
      buffers[at]!.isWritten ||= isWritten;
      fields.push({ name: `${name}_offset`, ...u32(operand.offset) });
      const rowStrides = operand.strides.slice(0, -1);
      fields.push(...rowStrides.map((stride, axis) => ({ name: `${name}_stride${axis}`, ...u32(stride) })));
      functions.push(...presentOperand({ name, type, rank: rowStrides.length, buffer: `buffer${at}`, isWritten }));
    }
  }
  fields.push(...Object.entries(numbers).map(([key, field]) => ({ name: snakeCase(key), ...field })));
  const bindings = buffers.map(
    ({ isWritten, type }, n) =>
      `@group(0) @binding(${n + 1}) var<storage, ${isWritten ? "read_write" : "read"}> buffer${n}: array<${type}>;`,
  );
  const declarations = [
    `struct Args { ${fields.map(({ name, type }) => `${name}: ${type}`).join(", ")} }`,
    "@group(0) @binding(0) var<uniform> args: Args;",
    ...bindings,
    ...functions,
  ].join("\n");
  return { declarations, buffers, block: pack(fields) };
}

/** dWeight as d_weight; names that begin with a capital letter, the sizes, stay as they are. */
function snakeCase(name: string): string {
  return /^[A-Z]/.test(name) ? name : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function elementOf({ dtype }: Operand): "f32" | "f16" | "i32" | "u32" {
  if (dtype !== "bf16") return dtype;
  throw new UnsupportedError("webgpu", "tensors are f32, f16 or i32 on this device", dtype, "Use f16.");
}

/** So that what is never reached compiles; where a kernel asks for a row, what may be absent is a table [B,H,T]. */
function absentOperand(name: string): string[] {
  return [
    `fn load_${name}(i: u32) -> f32 { return 0.0; }`,
    `fn store_${name}(i: u32, value: f32) {}`,
    `fn row_${name}(i0: u32, i1: u32) -> u32 { return 0u; }`,
  ];
}

interface Declared {
  readonly name: string;
  readonly type: string;
  readonly rank: number;
  readonly buffer: string;
  readonly isWritten: boolean;
}

function presentOperand({ name, type, rank, buffer, isWritten }: Declared): string[] {
  const place = `${buffer}[args.${name}_offset + i]`;
  const seen = type === "f16" ? "f32" : type;
  const lines = [`fn load_${name}(i: u32) -> ${seen} { return ${seen}(${place}); }`];
  if (isWritten) lines.push(`fn store_${name}(i: u32, value: ${seen}) { ${place} = ${type}(value); }`);
  if (rank > 0) {
    const axes = Array.from({ length: rank }, (_, axis) => axis);
    const start = axes.map((axis) => `i${axis} * args.${name}_stride${axis}`).join(" + ");
    lines.push(`fn row_${name}(${axes.map((axis) => `i${axis}: u32`).join(", ")}) -> u32 { return ${start}; }`);
  }
  return lines;
}

function pack(fields: readonly NumberField[]): ArrayBuffer {
  const block = new DataView(new ArrayBuffer(Math.max(16, 4 * fields.length)));
  for (const [n, { type, value }] of fields.entries()) {
    if (type === "f32") block.setFloat32(4 * n, value, true);
    else if (type === "i32") block.setInt32(4 * n, value, true);
    else block.setUint32(4 * n, value, true);
  }
  return block.buffer;
}
