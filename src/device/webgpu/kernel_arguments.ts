import { UnsupportedError } from "../../errors.ts";
import type { DType, Storage } from "../../tensor.ts";
import type { GpuStorage } from "./memory.ts";

/** A tensor as kernels see it, or an op's scratch. */
export interface Operand {
  readonly storage: Storage;
  /** u32 reads any four-byte type as bits; see `quads` and `blocks` for the others. */
  readonly dtype: DType | "u32" | "f32x4" | "f16x4" | "u32x4";
  /** In elements of that type, as the offset. */
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

/** Whether rows and offset are whole multiples of `count` elements, so that as many may be read at once. */
export function isAlignedTo(count: number, operand: Operand | null | undefined): boolean {
  if (!operand) return true;
  return operand.offset % count === 0 && operand.strides.slice(0, -1).every((stride) => stride % count === 0);
}

/** Stands for an operand that is not there, where the kernel would see elements of this type. */
export interface AbsentOperand {
  readonly absent: "f32" | "vec4<f32>";
}
export type MaybeOperand = Operand | AbsentOperand | null | undefined;

/** The operand, aligned to 4, as vectors of four: the kernel counts these, and sees each as vec4<f32>. */
export function quads(operand: Operand | null | undefined): Operand | AbsentOperand {
  if (!operand) return { absent: "vec4<f32>" };
  return grouped(operand, 4, operand.dtype === "f16" ? "f16x4" : "f32x4");
}

/** An f16 operand, aligned to 8, as blocks of eight: the kernel counts these, and sees the bits of each as vec4<u32>. */
export function blocks(operand: Operand): Operand {
  return grouped(operand, 8, "u32x4");
}

function grouped({ storage, strides, offset }: Operand, count: number, dtype: Operand["dtype"]): Operand {
  const last = strides.length - 1;
  return {
    ...{ storage, dtype, offset: offset / count },
    strides: strides.map((stride, axis) => (axis === last ? stride : stride / count)),
  };
}

/** The bits of a float32. */
export function floatBits(value: number): NumberField {
  return u32(new Uint32Array(new Float32Array([value]).buffer)[0]!);
}

/** What a kernel is called with, by names in camelCase; the kernel sees them in snake_case. */
export interface KernelArguments {
  readonly reads?: Readonly<Record<string, MaybeOperand>>;
  /** May be read too, and may share memory with each other and with what is read. */
  readonly writes?: Readonly<Record<string, MaybeOperand>>;
  readonly numbers?: Readonly<Record<string, NumberField>>;
}

/** A call, ready to bind. */
export interface BoundArguments {
  /** WGSL that declares what the kernel is called with; the same text means the same pipeline. */
  readonly declarations: string;
  readonly buffers: readonly { readonly buffer: GPUBuffer; readonly isWritten: boolean; readonly type: string }[];
  /** The uniform block. */
  readonly block: ArrayBuffer;
}

/**
 * Declares, for every operand, `load_NAME(i)`, for those written also `store_NAME(i, value)`, with i in elements from
 * the operand's first, and values of f16 as f32: kernels compute in f32 whatever the tensors hold; `HAS_NAME`, false
 * where it is null; and, if it has dimensions before the last, `row_NAME(...)`, the element at which the row of these
 * indices begins. Numbers are `args.NAME`. A buffer is bound once, however many operands lie in it, for WebGPU takes no
 * writable buffer twice; one that is only read is bound once for each type that it is seen as.
 */
export function bindArguments({ reads = {}, writes = {}, numbers = {} }: KernelArguments): BoundArguments {
  const fields: (NumberField & { name: string })[] = [];
  const buffers: { buffer: GPUBuffer; isWritten: boolean; type: ElementType }[] = [];
  const functions: string[] = [];
  for (const [given, isWritten] of [
    [reads, false],
    [writes, true],
  ] as const) {
    for (const [key, operand] of Object.entries(given)) {
      const name = snakeCase(key);
      const isPresent = operand && !("absent" in operand);
      functions.push(`const HAS_${name.toUpperCase()}: bool = ${Boolean(isPresent)};`);
      if (!isPresent) {
        functions.push(...absentOperand(name, operand?.absent ?? "f32"));
        continue;
      }
      const { buffer } = operand.storage as GpuStorage;
      const type = elementOf(operand);
      let at = buffers.findIndex((known) => known.buffer === buffer && known.type === type);
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

/** How an element lies in memory, and what kernels see of it. */
const seenAs = {
  f32: "f32",
  f16: "f32",
  i32: "i32",
  u32: "u32",
  "vec4<f32>": "vec4<f32>",
  "vec4<f16>": "vec4<f32>",
  "vec4<u32>": "vec4<u32>",
} as const;
type ElementType = keyof typeof seenAs;

function elementOf({ dtype }: Operand): ElementType {
  if (dtype === "f32x4") return "vec4<f32>";
  if (dtype === "f16x4") return "vec4<f16>";
  if (dtype === "u32x4") return "vec4<u32>";
  if (dtype !== "bf16") return dtype;
  throw new UnsupportedError("webgpu", "tensors are f32, f16 or i32 on this device", dtype, "Use f16.");
}

/** So that what is never reached compiles; where a kernel asks for a row, what may be absent is a table [B,H,T]. */
function absentOperand(name: string, seen: AbsentOperand["absent"]): string[] {
  return [
    `fn load_${name}(i: u32) -> ${seen} { return ${seen}(); }`,
    `fn store_${name}(i: u32, value: ${seen}) {}`,
    `fn row_${name}(i0: u32, i1: u32) -> u32 { return 0u; }`,
  ];
}

interface Declared {
  readonly name: string;
  readonly type: ElementType;
  readonly rank: number;
  readonly buffer: string;
  readonly isWritten: boolean;
}

function presentOperand({ name, type, rank, buffer, isWritten }: Declared): string[] {
  const place = `${buffer}[args.${name}_offset + i]`;
  const seen = seenAs[type];
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
