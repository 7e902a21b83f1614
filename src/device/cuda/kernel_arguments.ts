import { bytesPerElement, type DType, type Storage, type Tensor } from "../../tensor.ts";

/** Device memory of a tensor, or of an op's scratch. */
export interface CudaStorage extends Storage {
  readonly address: number;
}

/** One field of a kernel's argument struct. */
export interface Field {
  readonly type: "i32" | "f32" | "i64" | "pointer";
  readonly value: number;
}

export const i32 = (value: number): Field => ({ type: "i32", value });
export const i64 = (value: number): Field => ({ type: "i64", value });
export const f32 = (value: number): Field => ({ type: "f32", value });

/** The address of a tensor's first element, of scratch (a number), or null. */
export function pointer(at: Tensor<DType> | number | null | undefined): Field {
  return { type: "pointer", value: typeof at === "number" ? at : at ? addressOf(at) : 0 };
}

/** Device address of a tensor's first element. */
export function addressOf({ storage, offset, dtype }: Tensor<DType>): number {
  return (storage as CudaStorage).address + offset * bytesPerElement[dtype];
}

/** `View` of common.cuh: a [B,T,H,D] or [B,T,H] tensor as data and element strides of B, T and H; or nothing. */
export function view(tensor: Tensor<DType> | null | undefined): Field[] {
  const [batch = 0, row = 0, head = 0] = tensor?.strides ?? [];
  return [pointer(tensor), i64(batch), i64(row), i64(head)];
}

/** `View` of a [B,H,T] tensor: lse, delta. */
export function perQueryView(tensor: Tensor<DType> | null | undefined): Field[] {
  const [batch = 0, head = 0, row = 0] = tensor?.strides ?? [];
  return [pointer(tensor), i64(batch), i64(row), i64(head)];
}

/** `Index` of common.cuh: an i32 table [B|1, H|1, T]; strides of 0 where a dimension is 1. */
export function index(tensor: Tensor<"i32"> | null | undefined): Field[] {
  const stride = (axis: number) => (tensor && tensor.shape[axis]! > 1 ? tensor.strides[axis]! : 0);
  return [pointer(tensor), i32(stride(0)), i32(stride(1))];
}

const fieldBytes: Record<Field["type"], number> = { i32: 4, f32: 4, i64: 8, pointer: 8 };

/**
 * A struct as the device compiler lays it out: every field at a multiple of its size, the whole a multiple of 8. Nested
 * structs of `View` and `Index` fit this rule because they begin with a pointer and end on a multiple of 8.
 */
export function pack(fields: readonly Field[]): Uint8Array {
  let bytes = 0;
  const places = fields.map(({ type }) => {
    const size = fieldBytes[type];
    const at = Math.ceil(bytes / size) * size;
    bytes = at + size;
    return at;
  });
  const block = new DataView(new ArrayBuffer(Math.max(8, Math.ceil(bytes / 8) * 8)));
  for (const [n, { type, value }] of fields.entries()) {
    const at = places[n]!;
    if (type === "f32") block.setFloat32(at, value, true);
    else if (type === "i32") block.setInt32(at, value, true);
    else {
      block.setUint32(at, value % 2 ** 32, true);
      block.setInt32(at + 4, Math.floor(value / 2 ** 32), true);
    }
  }
  return new Uint8Array(block.buffer);
}
