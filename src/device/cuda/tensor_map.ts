import type { Tensor } from "../../tensor.ts";
import { addressOf } from "./kernel_arguments.ts";
import type { CudaRuntime } from "./runtime.ts";

/** CUtensorMapDataType and the other enumerations of cuda.h. */
const elementTypes: Readonly<Record<string, number>> = { f16: 6, f32: 7, bf16: 9 };
const noInterleave = 0;
const swizzle128Bytes = 3;
const promote128Bytes = 2;
const zerosOutside = 0;
const mapBytes = 128;
const mapAlignment = 64;
const elementBytes = 2;
/** Features of a box: 128 bytes, a line of the swizzle. */
const boxFeatures = 64;

/**
 * Whether the copy engine can load from a [B,T,H,D] view: rows at multiples of 16 bytes, each stride a multiple
 * of the one inside it and beyond what that reaches. An empty tensor needs no map.
 */
export function isMappable(tensor: Tensor): boolean {
  if (tensor.size === 0) return true;
  if (addressOf(tensor) % 16 !== 0) return false;
  const [, , , D] = tensor.shape as [number, number, number, number];
  let [inner, reach] = [D, D];
  return byDepth(tensor).every(({ size, stride }, n) => {
    if (size === 1) return true;
    const fits = stride >= reach && (stride * elementBytes) % 16 === 0 && (n === 0 || stride % inner === 0);
    inner = stride;
    reach = stride * size;
    return fits;
  });
}

/**
 * A tensor map over a view [B,T,H,D] as (D, H, T, B): boxes of `rows` positions by 64 features, 128-byte swizzle.
 * @returns 128 bytes, a kernel's parameter; of an empty tensor zeros, for nobody loads from it
 */
export function tensorMap(runtime: CudaRuntime, tensor: Tensor, rows: number): Uint8Array {
  if (tensor.size === 0) return noTensorMap;
  const [, , , D] = tensor.shape as [number, number, number, number];
  let inner = D;
  const dimensions = byDepth(tensor).map(({ size, stride }) => {
    // A dimension of 1 may have any stride; the driver wants one that fits.
    inner = size === 1 ? inner : stride;
    return { size, stride: inner };
  });
  return encode(runtime, {
    type: elementTypes[tensor.dtype]!,
    address: addressOf(tensor),
    sizes: [D, ...dimensions.map(({ size }) => size)],
    strideBytes: dimensions.map(({ stride }) => stride * elementBytes),
    box: [boxFeatures, 1, rows, 1],
    swizzle: swizzle128Bytes,
  });
}

/**
 * A tensor map over float32 [count, width] at a device address as (width, count, 1, 1): boxes of one row, not swizzled.
 * @param width a multiple of 4, at most 256
 */
export function rowMap(
  runtime: CudaRuntime,
  { address, count, width }: { address: number; count: number; width: number },
): Uint8Array {
  if (count === 0) return noTensorMap;
  const type = elementTypes["f32"]!;
  const [rowBytes, allBytes] = [width * 4, count * width * 4];
  const strideBytes = [rowBytes, allBytes, allBytes];
  return encode(runtime, {
    type,
    address,
    sizes: [width, count, 1, 1],
    strideBytes,
    box: [width, 1, 1, 1],
    swizzle: 0,
  });
}

/** Arguments of cuTensorMapEncodeTiled, of 4 dimensions from the innermost out. */
interface MapDescription {
  readonly type: number;
  readonly address: number;
  readonly sizes: readonly number[];
  /** Of all dimensions but the innermost. */
  readonly strideBytes: readonly number[];
  readonly box: readonly number[];
  readonly swizzle: number;
}

function encode(runtime: CudaRuntime, { type, address: data, sizes, strideBytes, box, swizzle }: MapDescription) {
  const { bytes, address, start } = runtime.keep("tensorMap", () => mapMemory(runtime));
  runtime.call(
    "cuTensorMapEncodeTiled",
    address + start,
    type,
    4,
    data,
    BigUint64Array.from(sizes, BigInt),
    BigUint64Array.from(strideBytes, BigInt),
    Uint32Array.from(box),
    Uint32Array.of(1, 1, 1, 1),
    noInterleave,
    swizzle,
    promote128Bytes,
    zerosOutside,
  );
  return bytes.slice(start, start + mapBytes);
}

/** Stands for the map of a kernel that is built to gather rows. */
export const noTensorMap = new Uint8Array(mapBytes);

/** H, T and B. */
function byDepth({ shape, strides }: Tensor): { size: number; stride: number }[] {
  return [2, 1, 0].map((axis) => ({ size: shape[axis]!, stride: strides[axis]! }));
}

function mapMemory({ driver }: CudaRuntime): { bytes: Uint8Array; address: number; start: number } {
  const bytes = new Uint8Array(mapBytes + mapAlignment);
  const address = driver.addressOf(bytes);
  return { bytes, address, start: (mapAlignment - (address % mapAlignment)) % mapAlignment };
}
